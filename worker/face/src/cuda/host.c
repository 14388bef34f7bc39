/* The kernels' arithmetic as a host program, for tests: the same threads one after another.
 *
 * Standard input, little-endian: kind (0 chips, 1 letterbox), count, length of the packed
 * samples, the layout (image, channel and pixel stride, half), three means, the plans as they
 * lie in memory, the samples. Standard output: the batch, then, of chips, their pixels.
 * Every buffer has exactly its size, so that a sanitizer sees any step outside. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "pixel.h"

_Static_assert(sizeof(ChipPlan) == 64, "the plan of a chip as chip.rs writes it");
_Static_assert(sizeof(LetterboxPlan) == 2064, "the plan of a letterbox as letterbox.rs writes it");

static void *take(size_t size)
{
    void *out = malloc(size ? size : 1);
    if (out == NULL || fread(out, 1, size, stdin) != size) {
        fputs("the input ends too early\n", stderr);
        exit(2);
    }
    return out;
}

static void give(const void *from, size_t size)
{
    if (fwrite(from, 1, size, stdout) != size)
        exit(3);
}

int main(void)
{
    struct {
        uint64_t kind, count, packed, image_stride, channel_stride, pixel_stride, half;
        float mean[3], unused;
    } *head = take(72);
    const int chips = head->kind == 0;
    const size_t side = chips ? CHIP_SIDE : DETECTOR_SIDE, area = side * side;
    void *plans = take(head->count * (chips ? sizeof(ChipPlan) : sizeof(LetterboxPlan)));
    unsigned char *packed = take(head->packed);
    const size_t value = head->half ? 2 : 4;
    void *batch = calloc(head->count * head->image_stride + 1, value);
    unsigned char *pixels = calloc(head->count * area * 3 + 1, 1);
    if (batch == NULL || pixels == NULL)
        return 4;
    const Layout layout = {(long long)head->image_stride, (int)head->channel_stride, (int)head->pixel_stride,
                           (int)head->half};
    for (size_t image = 0; image < head->count; image++)
        for (size_t pixel = 0; pixel < area; pixel++)
            if (chips)
                chip_thread(packed, plans, (int)image, (int)pixel, head->mean, batch, &layout, pixels);
            else
                letterbox_thread(packed, plans, (int)image, (int)pixel, batch, &layout);
    give(batch, head->count * head->image_stride * value);
    if (chips)
        give(pixels, head->count * area * 3);
    free(head), free(plans), free(packed), free(batch), free(pixels);
    return 0;
}
