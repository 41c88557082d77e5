/*
 * Runs a fuzz target over every file of a corpus folder, in any compiler's build, and reports in
 * TAP. A finding ends the process, as it does in the fuzzer.
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define INPUT_MAX (4u << 20) /* octets of one corpus file */

static int replay(const char *folder, const char *name)
{
    char path[4096];
    uint8_t *data = malloc(INPUT_MAX);
    FILE *f;
    size_t n;

    snprintf(path, sizeof(path), "%s/%s", folder, name);
    f = fopen(path, "rb");
    if (!f || !data) {
        free(data);
        return -1;
    }
    n = fread(data, 1, INPUT_MAX, f);
    fclose(f);
    /* A block of exactly n octets, so that a read past the end is seen. */
    uint8_t *exact = malloc(n ? n : 1);
    if (!exact) {
        free(data);
        return -1;
    }
    memcpy(exact, data, n);
    free(data);
    LLVMFuzzerTestOneInput(exact, n);
    free(exact);
    return 0;
}

int main(int argc, char **argv)
{
    DIR *d = argc == 2 ? opendir(argv[1]) : NULL;
    struct dirent *e;
    int n = 0;

    if (!d) {
        printf("1..0 # SKIP no corpus folder\n");
        return 0;
    }
    while ((e = readdir(d)) != NULL) {
        if (e->d_name[0] == '.')
            continue;
        n++;
        printf("%s %d - %s\n", replay(argv[1], e->d_name) == 0 ? "ok" : "not ok", n, e->d_name);
        fflush(stdout);
    }
    closedir(d);
    printf("1..%d\n", n);
    return 0;
}
