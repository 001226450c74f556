/* Feeds lines to `millsight run` from a program with a camera's own library: the format of
 * runtime/src/source/recording.rs, over a Unix socket. Build: cc -O2 feed.c -lz -o feed
 * Try: ./feed SOCKET 4096 10240   (pixels of a line, lines; draws a ramp)              */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <zlib.h>

static uint64_t lines_sent, blocks_sent;

static void put(int to, const void *bytes, size_t size) {
    for (const char *at = bytes; size > 0;) {
        ssize_t written = write(to, at, size);
        if (written <= 0) { perror("write"); exit(1); }
        at += written, size -= written;
    }
}

static void begin(int to, const char *json) {
    uint32_t length = strlen(json), sum = crc32(0, (const void *)json, length);
    put(to, "MSLINES1", 8), put(to, &length, 4), put(to, json, length), put(to, &sum, 4);
}

/* `first` counts all lines, those too that the camera has lost; `encoder` INT64_MIN: none, else
   it makes `lines_per_metre` counts a metre, and `moved` is what it counts within the block. */
static void block(int to, uint64_t first, uint64_t nanoseconds, int64_t encoder, int32_t moved,
                  const uint8_t *pixels, uint32_t lines, uint32_t width) {
    char head[44];
    uint32_t sum = crc32(0, pixels, lines * width);
    memcpy(head, "BLCK", 4), memcpy(head + 4, &first, 8), memcpy(head + 12, &nanoseconds, 8);
    memcpy(head + 20, &encoder, 8), memcpy(head + 28, &lines, 4), memcpy(head + 32, &sum, 4);
    memcpy(head + 36, &moved, 4);
    sum = crc32(0, (const void *)head, 40), memcpy(head + 40, &sum, 4);
    put(to, head, 44), put(to, pixels, (size_t)lines * width);
    lines_sent += lines, blocks_sent += 1;
}

static void end(int to) {
    char tail[24] = "DONE";
    memcpy(tail + 4, &lines_sent, 8), memcpy(tail + 12, &blocks_sent, 8);
    uint32_t sum = crc32(0, (const void *)tail, 20);
    memcpy(tail + 20, &sum, 4), put(to, tail, 24);
}

int main(int count, char **arguments) {
    if (count < 4) return fprintf(stderr, "usage: feed SOCKET WIDTH LINES\n"), 2;
    uint32_t width = atoi(arguments[2]), all = atoi(arguments[3]), at_once = 256;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    strncpy(address.sun_path, arguments[1], sizeof address.sun_path - 1);
    int to = socket(AF_UNIX, SOCK_STREAM, 0);
    if (connect(to, (struct sockaddr *)&address, sizeof address)) return perror("connect"), 1;
    char json[256];
    snprintf(json, sizeof json, "{\"pixels_per_line\":%u,\"line_rate_hz\":67000,"
             "\"lines_per_metre\":3333,\"mm_per_pixel\":0.3,\"piece\":\"coil-1\","
             "\"origin\":\"feed.c\"}", width);
    begin(to, json);
    uint8_t *pixels = malloc((size_t)at_once * width);
    for (uint32_t first = 0; first < all; first += at_once) {
        uint32_t lines = all - first < at_once ? all - first : at_once;
        for (uint32_t line = 0; line < lines; line++)  /* here: the camera's library */
            for (uint32_t x = 0; x < width; x++) pixels[line * width + x] = x + first + line;
        block(to, first, (uint64_t)first * 1000000000 / 67000, INT64_MIN, 0, pixels, lines, width);
    }
    end(to);
    return 0;
}
