/* Faults of disk and clock for one process, through LD_PRELOAD: see tests/faults.py, which maps the same `struct control`.
 *
 * Only files below FAULT_PREFIX fail; the clock is that of the whole process. What is not armed costs one comparison.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

struct control {
    volatile int32_t write_errno;   /* 0: writes succeed */
    volatile int32_t write_permille;
    volatile int32_t sync_errno;    /* 0: syncs succeed */
    volatile int32_t sync_permille;
    volatile int64_t clock_offset_us;
    volatile int64_t failed_writes; /* what was done, counted */
    volatile int64_t short_writes;
    volatile int64_t failed_syncs;
};

static struct control *shared;
static const char *prefix;
static size_t prefix_length;
static unsigned int seed;

static ssize_t (*real_write)(int, const void *, size_t);
static int (*real_fsync)(int);
static int (*real_fdatasync)(int);
static int (*real_clock_gettime)(clockid_t, struct timespec *);

__attribute__((constructor)) static void begin(void)
{
    real_write = dlsym(RTLD_NEXT, "write");
    real_fsync = dlsym(RTLD_NEXT, "fsync");
    real_fdatasync = dlsym(RTLD_NEXT, "fdatasync");
    real_clock_gettime = dlsym(RTLD_NEXT, "clock_gettime");
    seed = (unsigned int)getpid();
    prefix = getenv("FAULT_PREFIX");
    prefix_length = prefix ? strlen(prefix) : 0;
    const char *path = getenv("FAULT_CONTROL");
    int fd = path ? open(path, O_RDWR) : -1;
    if (fd < 0)
        return;
    void *at = mmap(NULL, sizeof(struct control), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (at != MAP_FAILED)
        shared = at;
}

static int ours(int fd)
{
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    return length > 0 && prefix_length && (size_t)length >= prefix_length && !memcmp(path, prefix, prefix_length);
}

static int happens(int permille)
{
    return (int)(rand_r(&seed) % 1000) < permille;
}

ssize_t write(int fd, const void *data, size_t size)
{
    if (shared && shared->write_errno && ours(fd) && happens(shared->write_permille)) {
        if (size > 1 && happens(500)) { /* a full disk takes some of it first */
            __sync_fetch_and_add(&shared->short_writes, 1);
            return real_write(fd, data, size / 2);
        }
        __sync_fetch_and_add(&shared->failed_writes, 1);
        errno = shared->write_errno;
        return -1;
    }
    return real_write(fd, data, size);
}

static int fails(int fd)
{
    if (!shared || !shared->sync_errno || !ours(fd) || !happens(shared->sync_permille))
        return 0;
    __sync_fetch_and_add(&shared->failed_syncs, 1);
    errno = shared->sync_errno;
    return 1;
}

int fsync(int fd) { return fails(fd) ? -1 : real_fsync(fd); }

int fdatasync(int fd) { return fails(fd) ? -1 : real_fdatasync(fd); }

int clock_gettime(clockid_t which, struct timespec *now)
{
    int result = real_clock_gettime(which, now);
    if (!result && shared && which == CLOCK_REALTIME && shared->clock_offset_us) {
        int64_t ns = now->tv_sec * 1000000000LL + now->tv_nsec + shared->clock_offset_us * 1000LL;
        now->tv_sec = ns / 1000000000LL;
        now->tv_nsec = ns % 1000000000LL;
    }
    return result;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone)
{
    struct timespec exact;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &exact);
    now->tv_sec = exact.tv_sec;
    now->tv_usec = exact.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *where)
{
    struct timespec exact;
    clock_gettime(CLOCK_REALTIME, &exact);
    if (where)
        *where = exact.tv_sec;
    return exact.tv_sec;
}
