#!/usr/bin/env python3
"""dlib's own pipeline on pairs of photographs, to measure the face path against.

For each pair of files: read both, find the face (HOG), place five landmarks, cut out the chip, embed, compare. Twice: as
the package face_recognition does it (pictures doubled once before the search, which finds small faces), and by dlib
alone without that, which is quicker. One JSON line for each of the two, with the median processor time of a pair in
milliseconds and the distance of every pair (null where a picture shows no face).

    dlib_pairs.py PAIRS.csv [--rounds 1]        columns a, b: files; relative to the CSV

Says so and ends well where dlib or face_recognition is not installed (`pip install dlib face_recognition`).
"""

import argparse
import csv
import json
import os
import statistics
import sys
import time

try:
    import dlib
    import face_recognition
    import face_recognition_models as models
    import numpy
except (ImportError, SystemExit) as error:
    # face_recognition ends the process itself when its models are missing.
    print(f"skipped: dlib and face_recognition are not installed here ({error})")
    sys.exit(0)


def as_shipped(path):
    picture = face_recognition.load_image_file(path)
    found = face_recognition.face_encodings(picture, face_recognition.face_locations(picture))
    return found[0] if found else None


class Plain:
    """The same parts, without enlarging pictures first."""

    def __init__(self):
        self.detector = dlib.get_frontal_face_detector()
        self.landmarks = dlib.shape_predictor(models.pose_predictor_five_point_model_location())
        self.embedder = dlib.face_recognition_model_v1(models.face_recognition_model_location())

    def __call__(self, path):
        picture = dlib.load_rgb_image(path)
        boxes = self.detector(picture, 0)
        if not boxes:
            return None
        largest = max(boxes, key=lambda box: box.area())
        points = self.landmarks(picture, largest)
        return numpy.array(self.embedder.compute_face_descriptor(picture, points))


def measure(name, embed, pairs, rounds):
    times, distances = [], [None] * len(pairs)
    embed(pairs[0][0])  # Loads what is loaded late.
    for _ in range(rounds):
        for index, (a, b) in enumerate(pairs):
            start = time.process_time()
            first, second = embed(a), embed(b)
            if first is not None and second is not None:
                distances[index] = float(numpy.linalg.norm(first - second))
            times.append(time.process_time() - start)
    line = {"pipeline": name, "ms_per_pair": statistics.median(times) * 1e3, "distances": distances}
    print(json.dumps(line), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pairs")
    parser.add_argument("--rounds", type=int, default=1)
    arguments = parser.parse_args()
    folder = os.path.dirname(os.path.abspath(arguments.pairs))
    with open(arguments.pairs, newline="") as file:
        pairs = [[os.path.join(folder, row[column]) for column in "ab"] for row in csv.DictReader(file)]
    if not pairs:
        sys.exit(f"{arguments.pairs}: no pairs")
    measure(f"face_recognition {face_recognition.__version__}", as_shipped, pairs, arguments.rounds)
    measure(f"dlib {dlib.__version__}, pictures not enlarged", Plain(), pairs, arguments.rounds)


if __name__ == "__main__":
    main()
