/* The limit that the daemon is held against: one epoll loop that cuts SL 651 frames by their declared length and answers each
 * with its own first 25 bytes. No CRC, no journal, no decoding: what is left is the kernel's recv and send.
 *
 * usage: echo            prints the port it listens on (127.0.0.1) and serves until it is ended
 */
#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { ANSWER = 25, HEADER = 14, OVERHEAD = 17, ROOM = 16384, EVENTS = 512 };

struct connection {
    int socket;
    uint32_t held;
    uint8_t bytes[ROOM];
};

static void fail(const char *what)
{
    fprintf(stderr, "echo: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void watch(int poll, int socket, void *who)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = who};
    if (epoll_ctl(poll, EPOLL_CTL_ADD, socket, &event))
        fail("epoll_ctl");
}

static void drop(struct connection *connection)
{
    close(connection->socket);
    free(connection);
}

static void serve(struct connection *connection)
{
    ssize_t got = recv(connection->socket, connection->bytes + connection->held, ROOM - connection->held, 0);
    if (got <= 0) {
        drop(connection);
        return;
    }
    connection->held += (uint32_t)got;
    uint32_t at = 0;
    while (connection->held - at >= HEADER) {
        const uint8_t *frame = connection->bytes + at;
        uint32_t size = OVERHEAD + ((frame[11] & 0x0Fu) << 8 | frame[12]);
        if (connection->held - at < size)
            break;
        if (send(connection->socket, frame, ANSWER, MSG_NOSIGNAL) != ANSWER) {
            drop(connection);
            return;
        }
        at += size;
    }
    connection->held -= at;
    memmove(connection->bytes, connection->bytes + at, connection->held);
}

int main(void)
{
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), one = 1;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    if (listener < 0 || bind(listener, (struct sockaddr *)&address, size) || listen(listener, 1024))
        fail("listen");
    if (getsockname(listener, (struct sockaddr *)&address, &size))
        fail("getsockname");
    int poll = epoll_create1(0);
    watch(poll, listener, NULL);
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    struct epoll_event events[EVENTS];
    for (;;) {
        int count = epoll_wait(poll, events, EVENTS, -1);
        for (int i = 0; i < count; i++) {
            if (events[i].data.ptr) {
                serve(events[i].data.ptr);
                continue;
            }
            int socket = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
            if (socket < 0)
                continue;
            setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
            struct connection *connection = malloc(sizeof *connection);
            if (!connection)
                fail("malloc");
            connection->socket = socket;
            connection->held = 0;
            watch(poll, socket, connection);
        }
    }
}
