//! What is fetched: names, versions, files and their sha256.

use super::artifact::{Artifact, Member, Source};
use super::packages::{Kind, Package};

/// Name of the default model pack.
pub const PACK_NAME: &str = "proofmill-open-1";

/// Everything that the product and its demonstration need of the cache.
pub const ALL: &[&Artifact] = &[&LIBTORCH, &PACK, &PHOTOS];

/// What the tests need besides.
pub const FOR_TESTS: &[&Artifact] = &[&NVRTC];

/// libtorch, the part that a CPU needs. There is no CPU-only build of this version on the package
/// index; the full one carries its CPU library as one of several, and that library wants two
/// small ones of CUDA by name.
pub static LIBTORCH: Artifact = Artifact {
    name: "libtorch 2.11.0",
    folder: "libtorch-2.11.0",
    sources: &[
        Source {
            package: &TORCH,
            members: &[
                Member {
                    path: "torch/lib/libtorch_cpu.so",
                    to: "lib/libtorch_cpu.so",
                    sha256: "2e1034d418c1c881c86f67fc357b8723efc3f22bdb266f06aace8e6ca9c170b3",
                },
                Member {
                    path: "torch/lib/libc10.so",
                    to: "lib/libc10.so",
                    sha256: "be5e17cd7752a6af003978706379384c3108f6b68916bb1949e610f6397bb640",
                },
                Member {
                    path: "torch/lib/libtorch.so",
                    to: "lib/libtorch.so",
                    sha256: "c1840a555e30043ef02c02ee22b21d0687342a3ce82bc971ef2280520c20cd22",
                },
                Member {
                    path: "torch/lib/libgomp.so.1",
                    to: "lib/libgomp.so.1",
                    sha256: "e28fb2896a3d612b46a27d7f8ef840d34c9efbc29b70a044c42095fb94856890",
                },
                Member {
                    path: "torch/include/",
                    to: "include/",
                    sha256: "182b60007f54c44f744f844afb34eabdb21c5977a249ecd93b8dc8c1145c3fda",
                },
            ],
        },
        Source {
            package: &CUDA_RUNTIME,
            members: &[Member {
                path: "nvidia/cu13/lib/libcudart.so.13",
                to: "lib/libcudart.so.13",
                sha256: "96c42e418cec19054186b9429c321603cc190bf26a18104e19408117a2a817b0",
            }],
        },
        Source {
            package: &CUDA_CUPTI,
            members: &[Member {
                path: "nvidia/cu13/lib/libcupti.so.13",
                to: "lib/libcupti.so.13",
                sha256: "e2f9ed861fe27c492b8bb52b5e3220ef5120f3edcda36312e96b7fd8a186be3e",
            }],
        },
    ],
    // torch-sys compares this with the version that it was written for.
    texts: &[("build-version", "2.11.0+cu130\n")],
};

/// The default model pack's weights (Apache-2.0, CC0, CC0).
pub static PACK: Artifact = Artifact {
    name: "the model pack proofmill-open-1",
    folder: "models/proofmill-open-1",
    sources: &[
        Source { package: &MODEL_PACKAGES[0].package, members: MODEL_PACKAGES[0].members },
        Source { package: &MODEL_PACKAGES[1].package, members: MODEL_PACKAGES[1].members },
    ],
    texts: &[],
};

/// A package of the model pack and what is taken out of it.
struct ModelPackage {
    package: Package,
    members: &'static [Member],
}

/// Shared with `proofmill-worker models fetch`.
const MODEL_PACKAGES: [ModelPackage; 2] = include!("../../../models/packages.rs");

/// Photos of public persons and of no person, for passports, selfies and tests.
pub static PHOTOS: Artifact = Artifact {
    name: "the photos",
    folder: "photos",
    sources: &[
        Source {
            package: &FACE_RECOGNITION,
            members: &[
                Member {
                    path: "face_recognition-1.3.0/tests/test_images/obama.jpg",
                    to: "obama.jpg",
                    sha256: "0930e3aa8cae5920329c0c8cbc6a2ab70f47b0e67b432875beaa95cbf7e741f6",
                },
                Member {
                    path: "face_recognition-1.3.0/tests/test_images/obama2.jpg",
                    to: "obama2.jpg",
                    sha256: "a7efcc907375274796f39646510704aa86672d59f6d5469d69af3c85590976a6",
                },
                Member {
                    path: "face_recognition-1.3.0/tests/test_images/obama3.jpg",
                    to: "obama3.jpg",
                    sha256: "76ac6bf97c36dc2da0ad16a537d6a5ac1b10f48d49aac29a0cca9a17cdbc3ca3",
                },
                Member {
                    path: "face_recognition-1.3.0/tests/test_images/obama_partial_face.jpg",
                    to: "obama_partial_face.jpg",
                    sha256: "c2d1f09e7ef3042352b41e41286e6eb0522f64f88308be13886991b95db52117",
                },
                Member {
                    path: "face_recognition-1.3.0/tests/test_images/obama_partial_face2.jpg",
                    to: "obama_partial_face2.jpg",
                    sha256: "9a812347f97633542b8cd9992de22def11b74f79d82056bc3ee830f13878e028",
                },
                Member {
                    path: "face_recognition-1.3.0/tests/test_images/biden.jpg",
                    to: "biden.jpg",
                    sha256: "3c17508bb91554c637a2eabddfae790e5bb1caba93130814fc2ac50be9760c4c",
                },
                Member {
                    path: "face_recognition-1.3.0/tests/test_images/32bit.png",
                    to: "32bit.png",
                    sha256: "44dca895a7d635a4aedddd91a4f37af9a8a5b44e66154282a24645a757b5f627",
                },
            ],
        },
        Source {
            package: &SCIKIT_IMAGE,
            members: &[
                Member {
                    path: "skimage/data/astronaut.png",
                    to: "astronaut.png",
                    sha256: "88431cd9653ccd539741b555fb0a46b61558b301d4110412b5bc28b5e3ea6cb5",
                },
                Member {
                    path: "skimage/data/camera.png",
                    to: "camera.png",
                    sha256: "b0793d2adda0fa6ae899c03989482bff9a42d3d5690fc7e3648f2795d730c23a",
                },
                Member {
                    path: "skimage/data/chelsea.png",
                    to: "chelsea.png",
                    sha256: "596aa1e7cb875eb79f437e310381d26b338a81c2da23439704a73c4651e8c4bb",
                },
                Member {
                    path: "skimage/data/coffee.png",
                    to: "coffee.png",
                    sha256: "cc02f8ca188b167c775a7101b5d767d1e71792cf762c33d6fa15a4599b5a8de7",
                },
                Member {
                    path: "skimage/data/hubble_deep_field.jpg",
                    to: "hubble_deep_field.jpg",
                    sha256: "3a19c5dd8a927a9334bb1229a6d63711b1c0c767fb27e2286e7c84a3e2c2f5f4",
                },
                Member {
                    path: "skimage/data/retina.jpg",
                    to: "retina.jpg",
                    sha256: "38a07f36f27f095e818aea7b96d34202c05176d30253c66733f2e00379e9e0e6",
                },
                Member {
                    path: "skimage/data/rocket.jpg",
                    to: "rocket.jpg",
                    sha256: "c2dd0de7c538df8d111e479619b129464d0269d0ae5fd18ca91d33a7fdfea95c",
                },
            ],
        },
    ],
    texts: &[],
};

/// NVIDIA's run-time compiler. It needs no GPU: a test makes the checked-in PTX anew with it.
pub static NVRTC: Artifact = Artifact {
    name: "NVRTC 13.0.88",
    folder: "nvrtc-13.0.88",
    sources: &[Source {
        package: &CUDA_NVRTC,
        members: &[
            Member {
                path: "nvidia/cu13/lib/libnvrtc.so.13",
                to: "lib/libnvrtc.so.13",
                sha256: "a49e67e8e74590f1e98de55c39c6287efd3f59e3c3797464d7bbe0fe01349b11",
            },
            Member {
                path: "nvidia/cu13/lib/libnvrtc-builtins.so.13.0",
                to: "lib/libnvrtc-builtins.so.13.0",
                sha256: "91dcd944d01da9c0f08fff5d779db136a47f6d62bdb63bae900d2f481e92c3a2",
            },
        ],
    }],
    texts: &[],
};

// Not kept: all that is ever used of it is unpacked, checked, and as large again.
static TORCH: Package = Package {
    requirement: "torch==2.11.0",
    file: "torch-2.11.0-cp312-cp312-manylinux_2_28_x86_64.whl",
    sha256: "0f68f4ac6d95d12e896c3b7a912b5871619542ec54d3649cf48cc1edd4dd2756",
    megabytes: 531,
    kind: Kind::Wheel { python: "3.12", platforms: &["manylinux_2_28_x86_64"] },
    keep: false,
};

static CUDA_RUNTIME: Package = Package {
    requirement: "nvidia-cuda-runtime==13.0.96",
    file: "nvidia_cuda_runtime-13.0.96-py3-none-manylinux2014_x86_64.manylinux_2_17_x86_64.whl",
    sha256: "7f82250d7782aa23b6cfe765ecc7db554bd3c2870c43f3d1821f1d18aebf0548",
    megabytes: 3,
    kind: Kind::Wheel { python: "3.12", platforms: &["manylinux2014_x86_64"] },
    keep: true,
};

static CUDA_CUPTI: Package = Package {
    requirement: "nvidia-cuda-cupti==13.0.85",
    file: "nvidia_cuda_cupti-13.0.85-py3-none-manylinux_2_25_x86_64.whl",
    sha256: "4eb01c08e859bf924d222250d2e8f8b8ff6d3db4721288cf35d14252a4d933c8",
    megabytes: 11,
    kind: Kind::Wheel { python: "3.12", platforms: &["manylinux_2_25_x86_64"] },
    keep: true,
};

// Not kept, for the same reason.
static CUDA_NVRTC: Package = Package {
    requirement: "nvidia-cuda-nvrtc==13.0.88",
    file: "nvidia_cuda_nvrtc-13.0.88-py3-none-manylinux2010_x86_64.manylinux_2_12_x86_64.whl",
    sha256: "ad9b6d2ead2435f11cbb6868809d2adeeee302e9bb94bcf0539c7a40d80e8575",
    megabytes: 90,
    kind: Kind::Wheel { python: "3.12", platforms: &["manylinux2010_x86_64"] },
    keep: false,
};

static FACE_RECOGNITION: Package = Package {
    requirement: "face_recognition==1.3.0",
    file: "face_recognition-1.3.0.tar.gz",
    sha256: "5e5efdd1686aa566af0d3cc1313b131e4b197657a8ffd03669e6d3fad92705ec",
    megabytes: 4,
    kind: Kind::Source,
    keep: true,
};

static SCIKIT_IMAGE: Package = Package {
    requirement: "scikit-image==0.26.0",
    file: "scikit_image-0.26.0-cp311-cp311-manylinux_2_24_x86_64.manylinux_2_28_x86_64.whl",
    sha256: "74aa5518ccea28121f57a95374581d3b979839adc25bb03f289b1bc9b99c58af",
    megabytes: 14,
    kind: Kind::Wheel { python: "3.11", platforms: &["manylinux_2_28_x86_64"] },
    keep: true,
};
