/* Terminals: sends SL 651 frames over many connections and checks every acknowledgement. One epoll loop, one core.
 *
 * Each connection (or session) is a terminal of its own. Sequence number, station, send time and observation date of a prepared
 * frame are written anew for each sending, and so is its CRC: the CRC is linear, so each changed byte adds a value from a table,
 * and making a frame costs a copy. An acknowledgement must have the station, the sequence number and a good CRC.
 *
 * usage: load -p PORT -t FILE -c CONNECTIONS -s SECONDS [-w WARM_UP_S] [-l DAYS] [-n SESSIONS] [-g EVERY [-b]] [-e] [-h] [-i] [-d DATE]
 *   -t  prepared days (the format is in workload.py)
 *   -c  connections at a time; connection i is terminal i, and its days follow one another
 *   -s  seconds to measure after the warm-up; the frame of a connection is sent when the one before it is acknowledged
 *   -l  end when each connection has sent so many days (and -s at the latest)
 *   -n  sessions instead: terminal i connects, sends its day, closes; -c of them at a time, -n in all
 *   -g  one in EVERY sendings is two frames at once; with -b the first of them has a wrong CRC and must not be acknowledged
 *   -e  echo: of an answer only length and sequence number are checked
 *   -h  hold: keep the connections open until standard input ends
 *   -i  idle: connect, and send nothing
 *   -d  number of the prepared date to begin with (0)
 *
 * Prints "measuring" when the warm-up is over and one line of JSON at the end. Exit code 3: an answer was wrong, or a connection
 * was closed; what was expected and what came is on standard error.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    ANSWER = 25,
    SEQUENCE = 14,
    SENT = 16,
    STATION = 3,
    STATION_AGAIN = 24,
    DATE = 32,
    GROUPS = 30,
    PATCHES = 16, /* sequence 2, send time 6, station 5, date 3 */
    LONGEST = 4112,
    EVENTS = 512,
    BINS = 200000, /* of 10 us */
    SOURCES = 8,   /* addresses 127.0.0.1 to .8, so that short sessions do not use up the ports of one */
    WRONG = 3,
};

struct shape {
    uint32_t length, records, stride;
    uint16_t table[PATCHES][256];
    uint16_t *base;   /* CRC of each variant with zeros where bytes are written */
    uint8_t **frames; /* each variant */
};

struct terminal {
    int socket;
    uint32_t number, day, frame, held, waiting, sendings;
    uint16_t sequence, expected[2];
    uint32_t records[2];
    uint64_t sent_ns;
    uint8_t bytes[2 * ANSWER];
};

static uint16_t crc_table[256];
static struct shape *shapes;
static uint8_t (*dates)[3];
static uint32_t variants, frames_a_day, date_count, first_terminal, first_date;
static uint32_t histogram[BINS];
static uint8_t now_bcd[6];
static int port, is_echo, is_bad, hold, idle;
static uint32_t glue, day_limit, sessions, session_next, sessions_done;
static uint64_t frames_acknowledged, frames_bad, records_acknowledged;
static int measuring;

static void fail(const char *what)
{
    fprintf(stderr, "load: %s: %s\n", what, strerror(errno));
    exit(1);
}

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static uint8_t bcd(int number)
{
    return (uint8_t)(number / 10 << 4 | number % 10);
}

static void read_clock(void)
{
    time_t beijing = time(NULL) + 8 * 3600;
    struct tm now;
    gmtime_r(&beijing, &now);
    int parts[6] = {now.tm_year % 100, now.tm_mon + 1, now.tm_mday, now.tm_hour, now.tm_min, now.tm_sec};
    for (int i = 0; i < 6; i++)
        now_bcd[i] = bcd(parts[i]);
}

static uint16_t crc_step(uint16_t crc, uint8_t byte)
{
    return (uint16_t)(crc >> 8 ^ crc_table[(crc ^ byte) & 0xFF]);
}

static uint16_t crc_of(const uint8_t *bytes, uint32_t count)
{
    uint16_t crc = 0xFFFF;
    for (uint32_t i = 0; i < count; i++)
        crc = crc_step(crc, bytes[i]);
    return crc;
}

/* Places of a patch's byte in a frame: the first two, or one a group for the date. */
static uint32_t place(const struct shape *shape, int patch, uint32_t index)
{
    if (patch < 2)
        return index ? 0 : SEQUENCE + (uint32_t)patch;
    if (patch < 8)
        return index ? 0 : SENT + (uint32_t)patch - 2;
    if (patch < 13)
        return index > 1 ? 0 : (index ? STATION_AGAIN : STATION) + (uint32_t)patch - 8;
    return index >= shape->records ? 0 : DATE + index * shape->stride + (uint32_t)patch - 13;
}

static void make_tables(struct shape *shape)
{
    /* What a single bit adds to the CRC depends only on how far it is from the end. */
    static uint16_t adds[LONGEST][8];
    uint32_t covered = shape->length - 2;
    for (int bit = 0; bit < 8; bit++) {
        uint16_t crc = crc_step(0, (uint8_t)(1 << bit));
        for (uint32_t left = 0; left < covered; left++) {
            adds[left][bit] = crc;
            crc = crc_step(crc, 0);
        }
    }
    for (int patch = 0; patch < PATCHES; patch++)
        for (uint32_t index = 0, at; (at = place(shape, patch, index)); index++)
            for (int value = 0; value < 256; value++)
                for (int bit = 0; bit < 8; bit++)
                    if (value >> bit & 1)
                        shape->table[patch][value] ^= adds[covered - 1 - at][bit];
}

static uint32_t take(FILE *file)
{
    uint32_t number;
    if (fread(&number, sizeof number, 1, file) != 1)
        fail("prepared days: file too short");
    return number;
}

static void read_days(const char *path)
{
    for (int i = 0; i < 256; i++) {
        uint16_t crc = (uint16_t)i;
        for (int bit = 0; bit < 8; bit++)
            crc = (uint16_t)(crc & 1 ? crc >> 1 ^ 0xA001 : crc >> 1);
        crc_table[i] = crc;
    }
    FILE *file = fopen(path, "rb");
    if (!file)
        fail(path);
    variants = take(file), frames_a_day = take(file), date_count = take(file), first_terminal = take(file);
    dates = malloc(3 * date_count);
    shapes = calloc(frames_a_day, sizeof *shapes);
    if (fread(dates, 3, date_count, file) != date_count)
        fail("prepared days: dates missing");
    for (uint32_t i = 0; i < frames_a_day; i++) {
        struct shape *shape = &shapes[i];
        shape->length = take(file), shape->records = take(file);
        shape->stride = (shape->length - 3 - GROUPS) / shape->records;
        if (shape->length > LONGEST)
            fail("prepared days: frame too long");
        make_tables(shape);
        shape->base = malloc(variants * sizeof *shape->base);
        shape->frames = malloc(variants * sizeof *shape->frames);
        for (uint32_t variant = 0; variant < variants; variant++) {
            uint8_t *frame = shape->frames[variant] = malloc(shape->length);
            if (fread(frame, 1, shape->length, file) != shape->length)
                fail("prepared days: frame missing");
            for (int patch = 0; patch < PATCHES; patch++)
                for (uint32_t index = 0, at; (at = place(shape, patch, index)); index++)
                    frame[at] = 0;
            shape->base[variant] = crc_of(frame, shape->length - 2);
        }
    }
    fclose(file);
}

static void station_of(uint32_t number, uint8_t *station)
{
    number += first_terminal;
    for (int i = 4; i >= 0; i--, number /= 100)
        station[i] = bcd((int)(number % 100));
}

/* The terminal's next frame; gives its length. */
static uint32_t make_frame(struct terminal *terminal, uint8_t *frame)
{
    struct shape *shape = &shapes[terminal->frame];
    uint32_t variant = terminal->number % variants;
    if (first_date + terminal->day >= date_count) {
        fprintf(stderr, "load: terminal %u used all %u prepared dates\n", terminal->number, date_count);
        exit(1);
    }
    terminal->sequence = terminal->sequence == 0xFFFF ? 1 : terminal->sequence + 1;
    uint8_t values[PATCHES] = {(uint8_t)(terminal->sequence >> 8), (uint8_t)terminal->sequence};
    memcpy(values + 2, now_bcd, 6);
    station_of(terminal->number, values + 8);
    memcpy(values + 13, dates[first_date + terminal->day], 3);
    memcpy(frame, shape->frames[variant], shape->length);
    memcpy(frame + SEQUENCE, values, 8);
    memcpy(frame + STATION, values + 8, 5);
    memcpy(frame + STATION_AGAIN, values + 8, 5);
    for (uint32_t i = 0, at = DATE; i < shape->records; i++, at += shape->stride)
        memcpy(frame + at, values + 13, 3);
    uint16_t crc = shape->base[variant];
    for (int patch = 0; patch < PATCHES; patch++)
        crc ^= shape->table[patch][values[patch]];
    frame[shape->length - 2] = (uint8_t)(crc >> 8); /* high byte first */
    frame[shape->length - 1] = (uint8_t)crc;
    if (++terminal->frame == frames_a_day)
        terminal->frame = 0, terminal->day++;
    return shape->length;
}

static void send_next(struct terminal *terminal)
{
    static uint8_t out[2 * LONGEST];
    uint32_t size = 0;
    terminal->waiting = 0;
    int twice = glue && (terminal->number + ++terminal->sendings) % glue == 0; /* not all connections at once */
    for (int i = 0; i <= twice; i++) {
        struct shape *shape = &shapes[terminal->frame];
        size += make_frame(terminal, out + size);
        if (twice && is_bad && i == 0) {
            out[size - 1] ^= 0x55;
            frames_bad += (uint64_t)measuring;
            continue;
        }
        terminal->records[terminal->waiting] = shape->records;
        terminal->expected[terminal->waiting++] = terminal->sequence;
    }
    terminal->sent_ns = now_ns();
    if (send(terminal->socket, out, size, MSG_NOSIGNAL) != (ssize_t)size)
        fail("send");
}

static void connect_terminal(struct terminal *terminal, int poll)
{
    int one = 1;
    struct sockaddr_in from = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK + terminal->number % SOURCES)};
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons((uint16_t)port)};
    terminal->socket = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(terminal->socket, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
    setsockopt(terminal->socket, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (terminal->socket < 0 || bind(terminal->socket, (struct sockaddr *)&from, sizeof from) ||
        connect(terminal->socket, (struct sockaddr *)&to, sizeof to))
        fail("connect");
    fcntl(terminal->socket, F_SETFL, O_NONBLOCK);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = terminal};
    if (epoll_ctl(poll, EPOLL_CTL_ADD, terminal->socket, &event))
        fail("epoll_ctl");
}

static void wrong(const struct terminal *terminal, const char *what)
{
    fprintf(stderr, "load: terminal %u: %s; expected the acknowledgement of %u, got ", first_terminal + terminal->number, what,
            terminal->expected[0]);
    for (uint32_t i = 0; i < terminal->held; i++)
        fprintf(stderr, "%02X", terminal->bytes[i]);
    fprintf(stderr, "\n");
    exit(WRONG);
}

static void check(const struct terminal *terminal, const uint8_t *answer, uint16_t expected)
{
    if ((answer[SEQUENCE] << 8 | answer[SEQUENCE + 1]) != expected)
        wrong(terminal, "wrong sequence number");
    if (is_echo)
        return;
    uint8_t station[5];
    station_of(terminal->number, station);
    if (memcmp(answer, "\x7e\x7e", 2) || memcmp(answer + 2, station, 5) || answer[11] >> 4 != 8)
        wrong(terminal, "not an answer to this station");
    uint16_t crc = crc_of(answer, ANSWER - 2);
    if (answer[ANSWER - 2] != crc >> 8 || answer[ANSWER - 1] != (crc & 0xFF))
        wrong(terminal, "wrong CRC");
}

/* Reads what came; true once all that the terminal waits for is acknowledged. */
static int receive(struct terminal *terminal)
{
    ssize_t got = recv(terminal->socket, terminal->bytes + terminal->held, sizeof terminal->bytes - terminal->held, 0);
    if (got < 0 && errno == EAGAIN)
        return 0;
    if (got <= 0)
        wrong(terminal, got ? strerror(errno) : "the connection was closed");
    terminal->held += (uint32_t)got;
    while (terminal->held >= ANSWER) {
        if (!terminal->waiting)
            wrong(terminal, "an answer too many");
        check(terminal, terminal->bytes, terminal->expected[0]);
        if (measuring)
            frames_acknowledged++, records_acknowledged += terminal->records[0];
        terminal->expected[0] = terminal->expected[1];
        terminal->records[0] = terminal->records[1];
        terminal->waiting--;
        terminal->held -= ANSWER;
        memmove(terminal->bytes, terminal->bytes + ANSWER, terminal->held);
    }
    if (terminal->waiting)
        return 0;
    if (measuring) {
        uint64_t bin = (now_ns() - terminal->sent_ns) / 10000;
        histogram[bin < BINS ? bin : BINS - 1]++;
    }
    return 1;
}

/* What a terminal does when its frame is acknowledged; true while there is anything left to do for it. */
static int go_on(struct terminal *terminal, int poll, int over)
{
    int day_over = terminal->frame == 0;
    if (sessions && day_over) {
        close(terminal->socket);
        sessions_done++;
        if (session_next >= sessions)
            return 0;
        memset(terminal, 0, sizeof *terminal);
        terminal->number = session_next++;
        connect_terminal(terminal, poll);
    } else if (over || (day_limit && terminal->day >= day_limit))
        return 0;
    send_next(terminal);
    return 1;
}

static double quantile(double part)
{
    uint64_t all = 0, sum = 0;
    for (int i = 0; i < BINS; i++)
        all += histogram[i];
    for (int i = 0; i < BINS; i++)
        if ((double)(sum += histogram[i]) >= part * (double)all)
            return (i + 1) / 100.0;
    return 0;
}

int main(int count, char **words)
{
    double seconds = 1, warm_up = 0;
    uint32_t connections = 1;
    const char *path = NULL;
    for (int option; (option = getopt(count, words, "p:t:c:s:w:l:n:g:d:behi")) != -1;) {
        switch (option) {
        case 'p': port = atoi(optarg); break;
        case 't': path = optarg; break;
        case 'c': connections = (uint32_t)atoi(optarg); break;
        case 's': seconds = atof(optarg); break;
        case 'w': warm_up = atof(optarg); break;
        case 'l': day_limit = (uint32_t)atoi(optarg); break;
        case 'n': sessions = (uint32_t)atoi(optarg); break;
        case 'g': glue = (uint32_t)atoi(optarg); break;
        case 'd': first_date = (uint32_t)atoi(optarg); break;
        case 'b': is_bad = 1; break;
        case 'e': is_echo = 1; break;
        case 'h': hold = 1; break;
        case 'i': idle = 1; break;
        default: return 2;
        }
    }
    if (!path || !port)
        return 2;
    read_days(path);
    read_clock();
    if (sessions && connections > sessions)
        connections = sessions;
    struct terminal *terminals = calloc(connections, sizeof *terminals);
    int poll = epoll_create1(0);
    uint32_t busy = idle ? 0 : connections;
    measuring = warm_up <= 0;
    uint64_t began = now_ns(), from = began + (uint64_t)(warm_up * 1e9);
    if (!sessions) {
        for (uint32_t i = 0; i < connections; i++) {
            terminals[i].number = i;
            connect_terminal(&terminals[i], poll);
        }
        began = now_ns(), from = began + (uint64_t)(warm_up * 1e9);
    }
    if (measuring)
        printf("measuring\n"), fflush(stdout);
    for (uint32_t i = 0; i < busy; i++) {
        if (sessions) {
            terminals[i].number = session_next++;
            connect_terminal(&terminals[i], poll);
        }
        send_next(&terminals[i]);
    }
    struct epoll_event events[EVENTS];
    uint64_t now = now_ns(), clock_read = now;
    int over = 0;
    while (busy && !over) {
        int ready = epoll_wait(poll, events, EVENTS, 100);
        now = now_ns();
        if (now - clock_read > 500000000u)
            read_clock(), clock_read = now;
        if (!measuring && now >= from) {
            measuring = 1, from = now;
            printf("measuring\n"), fflush(stdout);
        }
        over = measuring && !sessions && now >= from + (uint64_t)(seconds * 1e9);
        for (int i = 0; i < ready; i++) {
            struct terminal *terminal = events[i].data.ptr;
            if (receive(terminal) && !go_on(terminal, poll, over))
                busy--;
        }
    }
    double took = (double)(now_ns() - from) / 1e9;
    printf("{\"frames\": %llu, \"bad\": %llu, \"records\": %llu, \"seconds\": %.6f, \"p50_ms\": %.2f, \"p99_ms\": %.2f, "
           "\"sessions\": %u}\n",
           (unsigned long long)frames_acknowledged, (unsigned long long)frames_bad, (unsigned long long)records_acknowledged, took,
           quantile(0.5), quantile(0.99), sessions_done);
    fflush(stdout);
    while (hold && getchar() != EOF)
        ;
    return 0;
}
