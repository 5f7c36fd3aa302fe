/* What a power cut does to a file system, for one that is mounted for a test:
 *   cut DIR      nothing more reaches its disk from now on, not even the journal
 *   scatter DIR  has the kernel write back single pages of the databases' logs, in no order, until it is killed */
#define _GNU_SOURCE
#include <fcntl.h>
#include <glob.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#define FS_IOC_SHUTDOWN _IOR('X', 125, uint32_t)
#define WITHOUT_LOG_FLUSH 2
#define PAGE 4096

static int fail(const char *what) {
    perror(what);
    return 1;
}

static int cut(const char *dir) {
    uint32_t how = WITHOUT_LOG_FLUSH;
    int folder = open(dir, O_RDONLY | O_CLOEXEC);
    return folder < 0 || ioctl(folder, FS_IOC_SHUTDOWN, &how) ? fail("shutdown") : 0;
}

static void scatter_file(const char *path) {
    struct stat about;
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) return;
    if (fstat(file, &about) == 0 && about.st_size > 0)
        for (int i = 0; i < 4; i++) {
            off_t page = about.st_size / PAGE - random() % 64;
            if (page >= 0) sync_file_range(file, page * PAGE, PAGE, SYNC_FILE_RANGE_WRITE);
        }
    close(file);
}

static int scatter(const char *dir) {
    char pattern[4096], note[4096];
    snprintf(pattern, sizeof pattern, "%s/data/*/*.log", dir);
    snprintf(note, sizeof note, "%s/note", dir);
    for (;;) {
        glob_t found;
        if (glob(pattern, 0, NULL, &found) == 0)
            for (size_t i = 0; i < found.gl_pathc; i++) scatter_file(found.gl_pathv[i]);
        globfree(&found);
        /* The journal commits what it knows of the pages that are there. */
        int file = open(note, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        if (file < 0 || write(file, "x", 1) != 1 || fsync(file)) return fail("note");
        close(file);
    }
}

int main(int count, char **words) {
    if (count == 3 && !strcmp(words[1], "cut")) return cut(words[2]);
    if (count == 3 && !strcmp(words[1], "scatter")) return scatter(words[2]);
    return 2;
}
