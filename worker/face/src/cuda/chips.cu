/* Two kernels that make a whole batch in one launch: from packed 8-bit samples, each picture's at
 * the pyramid level that the processor chose, to the values that the networks take.
 *
 * Grid: pixels of one input along x, images along y. chips.ptx beside this file is what NVRTC
 * 13.0 makes of it for compute_75; a test in checks.rs fails when it is stale and says how to
 * make it anew. */
#include "pixel.h"

/* `batch` in the layout given; `pixels` gets the 8-bit faces, which the processor judges. */
extern "C" __global__ void __launch_bounds__(256)
proofmill_chips(const unsigned char *packed, const ChipPlan *plans, float mean_r, float mean_g, float mean_b,
                void *batch, long long image_stride, int channel_stride, int pixel_stride, int half,
                unsigned char *pixels)
{
    const int pixel = (int)(blockIdx.x * blockDim.x + threadIdx.x);
    if (pixel >= CHIP_SIDE * CHIP_SIDE)
        return;
    const float mean[3] = {mean_r, mean_g, mean_b};
    const Layout layout = {image_stride, channel_stride, pixel_stride, half};
    chip_thread(packed, plans, (int)blockIdx.y, pixel, mean, batch, &layout, pixels);
}

extern "C" __global__ void __launch_bounds__(256)
proofmill_letterbox(const unsigned char *packed, const LetterboxPlan *plans, void *batch, long long image_stride,
                    int channel_stride, int pixel_stride, int half)
{
    const int pixel = (int)(blockIdx.x * blockDim.x + threadIdx.x);
    if (pixel >= DETECTOR_SIDE * DETECTOR_SIDE)
        return;
    const Layout layout = {image_stride, channel_stride, pixel_stride, half};
    letterbox_thread(packed, plans, (int)blockIdx.y, pixel, batch, &layout);
}
