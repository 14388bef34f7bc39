/* One pixel of an aligned face, and one of the detector's input: the arithmetic that the CUDA
 * kernels (chips.cu) and a host build for tests (host.c) share. Plain C, so that both compilers
 * read it alike.
 *
 * It repeats the processor's arithmetic operation by operation: the aligned faces and the
 * detector's input are the same bytes wherever they are made. A compiler that fused a
 * multiplication with an addition would round once instead of twice, so on the device each
 * operation is spelt out with its rounding; the host build says -ffp-contract=off. */
#ifndef PROOFMILL_PIXEL_H
#define PROOFMILL_PIXEL_H

#ifdef __CUDACC__
#define PIXEL static __device__ __forceinline__
#define MUL(a, b) __dmul_rn((a), (b))
#define ADD(a, b) __dadd_rn((a), (b))
#define SUB(a, b) __dsub_rn((a), (b))
#define SUBF(a, b) __fsub_rn((a), (b))
#define DIVF(a, b) __fdiv_rn((a), (b))
#define BITS(value) __float_as_uint(value)
#else
#include <math.h>
#include <string.h>
#define PIXEL static inline
#define MUL(a, b) ((a) * (b))
#define ADD(a, b) ((a) + (b))
#define SUB(a, b) ((a) - (b))
#define SUBF(a, b) ((a) - (b))
#define DIVF(a, b) ((a) / (b))
static inline unsigned int BITS(float value)
{
    unsigned int bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}
#endif

/* Sides of the two networks' inputs, in pixels. */
#define CHIP_SIDE 150
#define DETECTOR_SIDE 128

/* A sub-image of a picture, at its pyramid level, and where the aligned face lies in it.
 * 64 bytes; packed into the buffer by ChipPlan::descriptor in chip.rs. */
typedef struct {
    /* Offset of its first sample in the packed samples; RGB, rows from the top. */
    unsigned long long offset;
    int width, height;
    /* Of pixel (0, 0), and the steps to the next column and row, in pixels of the sub-image. */
    double origin_x, origin_y, across_x, across_y, down_x, down_y;
} ChipPlan;

/* Two positions along one axis of the packed picture, and their weights in 32nds. */
typedef struct {
    unsigned short at[2];
    unsigned short weight[2];
} Taps;

/* The samples of a picture that the detector's input needs. 2064 bytes; packed by
 * LetterboxPlan::descriptor in letterbox.rs. */
typedef struct {
    unsigned long long offset;
    int width, height;
    Taps columns[DETECTOR_SIDE];
    Taps rows[DETECTOR_SIDE];
} LetterboxPlan;

/* Where the values of a batch go: distances in values, not bytes. */
typedef struct {
    long long image;
    int channel, pixel;
    int half;
} Layout;

/* Bilinear, in 64 bits, rounded down; black where one of the four neighbours is outside. */
PIXEL void chip_pixel(const unsigned char *packed, const ChipPlan *plan, int column, int row, unsigned char rgb[3])
{
    const double c = (double)column, r = (double)row;
    const double x = ADD(ADD(MUL(plan->across_x, c), MUL(plan->down_x, r)), plan->origin_x);
    const double y = ADD(ADD(MUL(plan->across_y, c), MUL(plan->down_y, r)), plan->origin_y);
    const double left = floor(x), top = floor(y);
    rgb[0] = rgb[1] = rgb[2] = 0;
    /* Also false for what is no number. */
    if (!(left >= 0.0 && top >= 0.0 && left + 1.0 <= (double)(plan->width - 1)
          && top + 1.0 <= (double)(plan->height - 1)))
        return;
    const double fx = SUB(x, left), fy = SUB(y, top);
    const double gx = SUB(1.0, fx), gy = SUB(1.0, fy);
    const unsigned long long stride = (unsigned long long)plan->width * 3;
    const unsigned char *above = packed + plan->offset + (unsigned long long)top * stride + (unsigned long long)left * 3;
    const unsigned char *below = above + stride;
    for (int channel = 0; channel < 3; channel++) {
        const double upper = ADD(MUL(gx, (double)above[channel]), MUL(fx, (double)above[3 + channel]));
        const double lower = ADD(MUL(gx, (double)below[channel]), MUL(fx, (double)below[3 + channel]));
        rgb[channel] = (unsigned char)ADD(MUL(gy, upper), MUL(fy, lower));
    }
}

/* Bilinear in 32nds of a pixel, in whole numbers, rounded. */
PIXEL void letterbox_pixel(const unsigned char *packed, const LetterboxPlan *plan, int column, int row,
                           unsigned char rgb[3])
{
    const Taps *x = &plan->columns[column], *y = &plan->rows[row];
    const unsigned char *samples = packed + plan->offset;
    for (int channel = 0; channel < 3; channel++) {
        unsigned int sum = 0;
        for (int i = 0; i < 2; i++)
            for (int j = 0; j < 2; j++) {
                const unsigned int weight = (unsigned int)y->weight[i] * x->weight[j];
                /* A position of no weight lies outside the picture: it may not be read. */
                if (weight != 0)
                    sum += weight
                        * samples[((unsigned long long)y->at[i] * (unsigned int)plan->width + x->at[j]) * 3 + channel];
            }
        rgb[channel] = (unsigned char)((sum + 512) >> 10);
    }
}

/* What the embedder takes; 256 is its own scale, not 255. */
PIXEL float chip_value(unsigned char sample, float mean)
{
    return DIVF(SUBF((float)sample, mean), 256.0f);
}

/* What the detector takes: -1 to 1. */
PIXEL float letterbox_value(unsigned char sample)
{
    return SUBF(DIVF((float)sample, 127.5f), 1.0f);
}

/* IEEE 754 binary16, to the nearest, halves to even. For finite values below 2^15. */
PIXEL unsigned short half_bits(float value)
{
    const unsigned int bits = BITS(value);
    const unsigned int sign = (bits >> 16) & 0x8000u;
    const int exponent = (int)((bits >> 23) & 0xffu) - 127;
    unsigned int significand = bits & 0x7fffffu, shift = 13, half;
    if (exponent < -25)
        return (unsigned short)sign;
    if (exponent < -14) {
        /* Subnormal: the leading one is written out and moves to the right. */
        significand |= 0x800000u;
        shift = (unsigned int)(13 + -14 - exponent);
        half = significand >> shift;
    } else {
        half = ((unsigned int)(exponent + 15) << 10) | (significand >> 13);
    }
    const unsigned int rest = significand & ((1u << shift) - 1), middle = 1u << (shift - 1);
    if (rest > middle || (rest == middle && (half & 1u)))
        half++;
    return (unsigned short)(sign | half);
}

PIXEL void store(void *batch, const Layout *layout, int image, int channel, int pixel, float value)
{
    const long long at = image * layout->image + (long long)channel * layout->channel + (long long)pixel * layout->pixel;
    if (layout->half)
        ((unsigned short *)batch)[at] = half_bits(value);
    else
        ((float *)batch)[at] = value;
}

/* The whole work of one kernel thread. */
PIXEL void chip_thread(const unsigned char *packed, const ChipPlan *plans, int image, int pixel, const float mean[3],
                       void *batch, const Layout *layout, unsigned char *pixels)
{
    unsigned char rgb[3];
    chip_pixel(packed, &plans[image], pixel % CHIP_SIDE, pixel / CHIP_SIDE, rgb);
    for (int channel = 0; channel < 3; channel++) {
        pixels[((long long)image * CHIP_SIDE * CHIP_SIDE + pixel) * 3 + channel] = rgb[channel];
        store(batch, layout, image, channel, pixel, chip_value(rgb[channel], mean[channel]));
    }
}

PIXEL void letterbox_thread(const unsigned char *packed, const LetterboxPlan *plans, int image, int pixel, void *batch,
                            const Layout *layout)
{
    unsigned char rgb[3];
    letterbox_pixel(packed, &plans[image], pixel % DETECTOR_SIDE, pixel / DETECTOR_SIDE, rgb);
    for (int channel = 0; channel < 3; channel++)
        store(batch, layout, image, channel, pixel, letterbox_value(rgb[channel]));
}

#endif
