/* Preloaded into a node, so that each sync of its disk takes longer by the milliseconds that
 * the file $DISK_SHIM_FILE holds (an int64 in the machine's order), at every moment anew. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static volatile int64_t *milliseconds;

__attribute__((constructor)) static void open_file(void) {
    const char *path = getenv("DISK_SHIM_FILE");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0) abort();
    void *page = mmap(NULL, sizeof *milliseconds, PROT_READ, MAP_SHARED, file, 0);
    if (page == MAP_FAILED) abort();
    milliseconds = page;
    close(file);
}

static void wait(void) {
    int64_t longer = milliseconds ? *milliseconds : 0;
    struct timespec pause = {longer / 1000, (longer % 1000) * 1000000};
    if (longer > 0) nanosleep(&pause, NULL);
}

int fdatasync(int file) {
    wait();
    return (int)syscall(SYS_fdatasync, file);
}

int fsync(int file) {
    wait();
    return (int)syscall(SYS_fsync, file);
}
