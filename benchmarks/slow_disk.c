/* A disk that is slower: LD_PRELOAD this, and every fsync and fdatasync first waits MAINFLOW_SLOW_US microseconds. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <unistd.h>

static void wait_for_disk(void)
{
    const char *told = getenv("MAINFLOW_SLOW_US");
    if (told)
        usleep((useconds_t)atoi(told));
}

int fsync(int file)
{
    wait_for_disk();
    return ((int (*)(int))dlsym(RTLD_NEXT, "fsync"))(file);
}

int fdatasync(int file)
{
    wait_for_disk();
    return ((int (*)(int))dlsym(RTLD_NEXT, "fdatasync"))(file);
}
