/* Plays the tests' noise into a JACK client and records what comes out, faster than real time (freewheel).
 *   jack_play CLIENT:IN_LEFT CLIENT:IN_RIGHT CLIENT:OUT_LEFT CLIENT:OUT_RIGHT
 * reads lines "play FIRST_SAMPLE FRAMES FILE" and answers each with "done". The recording begins with the first frame that is
 * not silent: what is played goes through the graph in a whole number of periods. */
#include <jack/jack.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static jack_port_t *out[2], *in[2];
static float *record;
static uint64_t first, frames;
static uint64_t played, recorded;
static atomic_int running;

static float noise(uint64_t sample, uint32_t channel) {
    uint32_t n = (uint32_t)sample * 2654435761u + channel * 40503u;
    n = (n ^ (n >> 15)) * 2246822519u;
    return (float)(n >> 8) / 16777216.0f - 0.5f;
}

static int process(jack_nframes_t count, void *unused) {
    (void)unused;
    float *to[2], *from[2];
    for (int c = 0; c < 2; ++c) {
        to[c] = jack_port_get_buffer(out[c], count);
        from[c] = jack_port_get_buffer(in[c], count);
        memset(to[c], 0, count * sizeof(float));
    }
    if (!atomic_load(&running)) return 0;
    for (jack_nframes_t i = 0; i < count; ++i) {
        if (played < frames) {
            for (int c = 0; c < 2; ++c) to[c][i] = noise(first + played, (uint32_t)c);
            ++played;
        }
        const int silent = from[0][i] == 0.0f && from[1][i] == 0.0f;
        if (recorded < frames && (recorded > 0 || !silent)) {
            record[2 * recorded] = from[0][i];
            record[2 * recorded + 1] = from[1][i];
            ++recorded;
        }
    }
    if (recorded == frames) atomic_store(&running, 0);
    return 0;
}

int main(int argc, char **argv) {
    if (argc != 5) return 2;
    jack_client_t *client = jack_client_open("player", JackNoStartServer, NULL);
    if (!client) return 3;
    static const char *const names[] = {"out_left", "out_right", "in_left", "in_right"};
    for (int c = 0; c < 2; ++c) {
        out[c] = jack_port_register(client, names[c], JACK_DEFAULT_AUDIO_TYPE, JackPortIsOutput, 0);
        in[c] = jack_port_register(client, names[2 + c], JACK_DEFAULT_AUDIO_TYPE, JackPortIsInput, 0);
    }
    jack_set_process_callback(client, process, NULL);
    if (jack_activate(client)) return 4;
    for (int c = 0; c < 2; ++c) {
        if (jack_connect(client, jack_port_name(out[c]), argv[1 + c])) return 5;
        if (jack_connect(client, argv[3 + c], jack_port_name(in[c]))) return 5;
    }
    puts("ready");
    fflush(stdout);
    char line[4096], file[4000];
    while (fgets(line, sizeof line, stdin)) {
        unsigned long long a, b;
        if (sscanf(line, "play %llu %llu %3999[^\n]", &a, &b, file) != 3) return 6;
        first = a;
        frames = b;
        played = recorded = 0;
        record = calloc(2 * frames, sizeof(float));
        if (!record || jack_set_freewheel(client, 1)) return 7;
        atomic_store(&running, 1);
        while (atomic_load(&running)) usleep(2000);
        jack_set_freewheel(client, 0);
        FILE *to = fopen(file, "wb");
        if (!to || fwrite(record, sizeof(float), 2 * frames, to) != 2 * frames || fclose(to)) return 8;
        free(record);
        puts("done");
        fflush(stdout);
    }
    jack_client_close(client);
    return 0;
}
