"""The contract on a plugin that keeps it, and on sixty that break one promise each."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from harness.checks.cases import bench_for, cases

pytestmark = pytest.mark.once
KIT = Path(__file__).parents[1] / "checks" / "kit.py"
KEPT = KIT.read_text(encoding="utf-8")

LOGITS = "        return logits.astype(np.float32)\n"
RNG = "    rng = np.random.default_rng(context.seed)\n"
NOISE = "    noisy = patch + rng.normal(0, level, patch.shape)\n"
READ = "        found = [cv2.imread(str(self.paths[index])) for index in indices]\n"
SHA = '        return hashlib.sha256(" ".join(self.ids).encode()).hexdigest()\n'
EXTRACT = "    return images.mean(axis=(1, 2)).astype(np.float32)\n"
SUMMARY = '    return Finding(summary=f"brightness {reading:.0f}", reading=reading, flag='

# What of the kit is replaced, and by what; the promise that this breaks; what the message says.
BROKEN = {
    "raises on import": (
        '\nCLASSES = ("dark", "light")\n',
        '\nCLASSES = ("dark", 1 / 0)\n',
        "plugin:kit:loads",
        "ZeroDivisionError",
    ),
    "imports scikit-learn at once": (
        "import numpy as np\n",
        "import numpy as np\nimport sklearn\n",
        "plugin:kit:light",
        "sklearn; import inside functions",
    ),
    "fit returns nothing": (
        "    return best\n",
        "    return None\n",
        "model:kit-nearest:fits",
        "without logits and save",
    ),
    "fit raises": (
        RNG,
        RNG + '    raise ValueError("no such thing")\n',
        "model:kit-nearest:fits",
        "raised ValueError: no such thing",
    ),
    "a column too many": (
        LOGITS,
        "        return np.hstack([logits, logits[:, :1]]).astype(np.float32)\n",
        "model:kit-nearest:logits",
        "logits of uint8 (27, 224, 224, 3) are float32 (27, 10); return a float32 array (27, 9)",
    ),
    "nothing for the last patch": (
        LOGITS,
        "        return logits[:-1].astype(np.float32) if len(logits) > 20 else logits\n",
        "model:kit-nearest:logits",
        "return a float32 array (27, 9)",
    ),
    "logits are labels": (
        LOGITS,
        "        return (logits > 0).astype(int)\n",
        "model:kit-nearest:logits",
        "int64 (27, 9)",
    ),
    "NaN": (
        LOGITS,
        "        logits[0] = np.nan\n" + LOGITS,
        "model:kit-nearest:logits",
        "9 of 243 logits are NaN or infinite",
    ),
    "probabilities": (
        LOGITS,
        "        shares = np.exp(logits - logits.max(axis=1, keepdims=True))\n"
        "        return (shares / shares.sum(axis=1, keepdims=True)).astype(np.float32)\n",
        "model:kit-nearest:outputs",
        "look like probabilities, not logits: none is negative and each row sums to 1; declare",
    ),
    "outputs of a sigmoid": (
        LOGITS,
        "        return (1 / (1 + np.exp(-logits / 50 - 1))).astype(np.float32)\n",
        "model:kit-nearest:outputs",
        "all lie between 0 and 1, like those of a sigmoid",
    ),
    "declared as probabilities": (
        '            name="kit-nearest",\n',
        '            name="kit-nearest",\n            outputs="probabilities",\n',
        "model:kit-nearest:outputs",
        "some are negative",
    ),
    "patches of a batch see each other": (
        "        colors = images.mean(axis=(1, 2))\n",
        "        colors = images.mean(axis=(1, 2))\n"
        "        colors = colors - colors.mean(axis=0)\n",
        "model:kit-nearest:any-batch",
        "logits in batches of 1 differ by",
    ),
    "answers in the order of brightness": (
        LOGITS,
        "        return logits[np.argsort(colors[:, 0])].astype(np.float32)\n",
        "model:kit-nearest:any-batch",
        "logits of the same patches in another order differ by",
    ),
    "one class alone is called nothing": (
        LOGITS,
        "        if len(set(logits.argmax(axis=1))) == 1:\n            return logits * 0\n"
        + LOGITS,
        "model:kit-nearest:one-class-batch",
        "logits of a batch of",
    ),
    "inputs changed": (
        "        colors = images.mean(axis=(1, 2))\n",
        "        images //= 2\n        colors = images.mean(axis=(1, 2))\n",
        "model:kit-nearest:inputs-unchanged",
        "changed in place",
    ),
    "inputs changed past numpy": (
        "        colors = images.mean(axis=(1, 2))\n",
        "        colors = images.mean(axis=(1, 2))\n"
        "        __import__('ctypes').memset(images.ctypes.data, 0, images.nbytes)\n",
        "model:kit-nearest:inputs-unchanged",
        "the array of patches was changed in place",
    ),
    "global random numbers": (
        "rng.normal(0, 5, means.shape)",
        "np.random.normal(0, 5, means.shape)",
        "model:kit-nearest:same-seed",
        "seed every generator from context.seed",
    ),
    "half of it is saved": (
        '        np.save(folder / "means.npy", self.means)\n',
        '        np.save(folder / "means.npy", self.means.round(-2))\n',
        "model:kit-nearest:saves",
        "logits after save and load differ by",
    ),
    "nothing is saved": (
        '        np.save(folder / "means.npy", self.means)\n',
        "        pass\n",
        "model:kit-nearest:saves",
        "save wrote nothing",
    ),
    "loads what this process remembers": (
        'def load(folder, settings):\n    return Nearest(np.load(folder / "means.npy"))\n',
        "def load(folder, settings):\n    return Nearest(SAVED[folder])\n\n\nSAVED = {}\n"
        "def remember(self, folder):\n    SAVED[folder] = self.means\n    save(self, folder)\n"
        "save, Nearest.save = Nearest.save, remember\n",
        "model:kit-nearest:fresh-process",
        "in a fresh process",
    ),
    "seeded from hash()": (
        RNG,
        '    rng = np.random.default_rng(hash("kit") % 2**32)\n',
        "model:kit-nearest:fresh-process",
        "logits after a fit with the same seed in a fresh process differ by",
    ),
    "writes where it is": (
        RNG,
        RNG + '    Path("log.txt").write_text("hello")\n',
        "model:kit-nearest:own-folder",
        "wrote work/log.txt",
    ),
    "writes beside itself, unseen by Python": (
        RNG,
        RNG + "    import cv2\n    cv2.imwrite(__file__ + '.png', train.read([0])[0])\n",
        "model:kit-nearest:own-folder",
        "kit.py.png",
    ),
    "writes to the home folder, unseen by Python": (
        RNG,
        RNG + "    import cv2\n    cv2.imwrite(str(Path.home() / 'a.png'), train.read([0])[0])\n",
        "model:kit-nearest:own-folder",
        "wrote home/a.png",
    ),
    "writes when imported": (
        '\nCLASSES = ("dark", "light")\n',
        '\nCLASSES = ("dark", "light")\nPath("log.txt").write_text("hello")\n',
        "plugin:kit:own-folder",
        "wrote work/log.txt",
    ),
    "writes when it extracts": (
        EXTRACT,
        '    Path("log.txt").write_text("hello")\n' + EXTRACT,
        "features:kit-colors:own-folder",
        "wrote work/log.txt",
    ),
    "writes when it loads": (
        'train, test = Files(folder / "kit" / "train")',
        'Path("log.txt").write_text("hello")\n    train, test = Files(folder / "kit" / "train")',
        "dataset:kit-files:own-folder",
        "wrote work/log.txt",
    ),
    "writes when it reads": (
        READ,
        READ + '        Path("log.txt").write_text("hello")\n',
        "dataset:kit-files:own-folder",
        "wrote work/log.txt",
    ),
    "writes when it perturbs": (
        NOISE,
        NOISE + '    Path("log.txt").write_text("hello")\n',
        "perturbation:kit-noise:own-folder",
        "wrote work/log.txt",
    ),
    "writes when it measures": (
        SUMMARY,
        '    Path("log.txt").write_text("hello")\n' + SUMMARY,
        "dataset-probe:kit-brightness:own-folder",
        "wrote work/log.txt",
    ),
    "writes when it measures predictions": (
        "    if noisy is None:\n",
        '    Path("log.txt").write_text("hello")\n    if noisy is None:\n',
        "model-probe:kit-steadiness:own-folder",
        "wrote work/log.txt",
    ),
    "holds the whole split": (
        RNG,
        RNG + "    everything = train.read(np.arange(len(train.labels)))\n",
        "model:kit-nearest:memory",
        "the peak rose by",
    ),
    "keeps what it predicts": (
        LOGITS,
        "        self.__dict__.setdefault('seen', []).append(images)\n" + LOGITS,
        "model:kit-nearest:memory",
        "after logits of 222 patches (32 MiB decoded)",
    ),
    "a class that is missing": (
        "np.maximum(counts, 1)[:, None]",
        "counts[:, None]",
        "model:kit-nearest:missing-class",
        "NaN or infinite",
    ),
    "fewer columns": (
        "    best = Nearest(means)\n",
        "    means = means[counts > 0]\n    best = Nearest(means)\n",
        "model:kit-nearest:missing-class",
        "float32 (27, 7)",
    ),
    "cannot go on": (
        RNG,
        RNG + '    (context.folder / "checkpoints").mkdir()\n',
        "model:kit-nearest:resumes",
        "the second fit raised FileExistsError",
    ),
    "no epochs": (
        "        if context.after_epoch:\n",
        "        if False:\n",
        "model:kit-nearest:reports-epochs",
        "after_epoch was called never",
    ),
    "epochs from 1": (
        "context.after_epoch(epoch,",
        "context.after_epoch(epoch + 1,",
        "model:kit-nearest:reports-epochs",
        "for epochs 1, 2",
    ),
    "selects on nothing": (
        "        score = (best.logits(validation.read(chosen)).argmax(axis=1) == validation.labels)"
        ".mean()\n",
        "        score = 0.5\n",
        "model:kit-nearest:selects",
        "the validation patches were never read",
    ),
    "comes fitted, and fits": (
        "def fit_given(train, validation, context):\n",
        "def fit_given(train, validation, context):\n    train.read([0])\n",
        "model:kit-given:pretrained",
        "fit read training patches 1 times",
    ),
    "a bad setting": (
        """        raise HarnessError(f"setting epochs={context.settings['epochs']}: """
        """must be at least 1")\n""",
        '        raise ValueError("bad epochs")\n',
        "model:kit-nearest:bad-settings",
        "epochs=-1 raised ValueError",
    ),
    "sums a model that is not there": (
        'terms=four_views("kit-nearest")',
        'terms=four_views("kit-farthest")',
        "derived-model:kit-sum:members",
        "needs the model kit-farthest, which no plugin offers",
    ),
    "a family that raises": (
        '        raise HarnessError(f"kit:{rest}: say a number")\n',
        "        int(rest)\n",
        "family:kit:unknown-member",
        "raised ValueError",
    ),
    "a family that misnames": (
        'name=f"kit:{rest}"',
        'name=f"kit-{rest}"',
        "family:kit:example",
        "make gave 'kit-3' for 'kit:3'",
    ),
    "infinite features": (
        EXTRACT,
        "    return np.log(images.min(axis=(1, 2)) * 0.0).astype(np.float32)\n",
        "features:kit-colors:rows",
        "NaN or infinite",
    ),
    "features that see each other": (
        EXTRACT,
        "    return (images.mean(axis=(1, 2)) - images.mean()).astype(np.float32)\n",
        "features:kit-colors:any-batch",
        "features in batches of 1 differ by",
    ),
    "features with a shared buffer": (
        EXTRACT,
        "    BUFFER[:] = [images]\n    import time\n\n    time.sleep(0.01)\n"
        "    return BUFFER[0].mean(axis=(1, 2)).astype(np.float32)\n\n\nBUFFER = []\n",
        "features:kit-colors:threads",
        "features in four threads differ by",
    ),
    "missing raises": (
        'return "" if (folder / "kit" / "train").is_dir() else',
        'return "" if list((folder / "kit").iterdir()) else',
        "dataset:kit-files:missing",
        "missing raised FileNotFoundError for an empty folder",
    ),
    "labels of 32 bits": (
        "for path in self.paths], np.int64)",
        "for path in self.paths], np.int32)",
        "dataset:kit-files:labels",
        "labels of train are int32",
    ),
    "labels from 1": (
        "int(path.name[0]) for",
        "int(path.name[0]) + 1 for",
        "dataset:kit-files:labels",
        "labels of train run from 1 to 2 with 2 classes",
    ),
    "a class without training patches": (
        "int(path.name[0]) for path in self.paths]",
        "int(path.name[0]) * (folder.name == 'test') for path in self.paths]",
        "dataset:kit-files:labels",
        "class light has test patches and no training patch",
    ),
    "ids in two splits": (
        'f"{folder.name}/{path.stem}"',
        'f"{path.stem}"',
        "dataset:kit-files:ids",
        "stands twice in train and test",
    ),
    "patches as floats": (
        "        return np.stack(found)[..., ::-1]\n",
        "        return np.stack(found)[..., ::-1] / 255\n",
        "dataset:kit-files:reads",
        "gave float64 (12, 24, 24, 3)",
    ),
    "reads in its own order": (
        READ,
        READ.replace("in indices", "in sorted(indices)"),
        "dataset:kit-files:order",
        "are not those read one by one",
    ),
    "one file pointer for all threads": (
        READ,
        "        import time\n\n        found = []\n        for index in indices:\n"
        "            self.current = self.paths[index]\n            time.sleep(0.002)\n"
        "            found.append(cv2.imread(str(self.current)))\n",
        "dataset:kit-files:threads",
        "four threads read other patches of train",
    ),
    "a fingerprint from hash()": (
        SHA,
        '        return str(hash(" ".join(self.ids)))\n',
        "dataset:kit-files:fingerprint",
        "use hashlib",
    ),
    "load decodes": (
        '        self.ids = [f"{folder',
        "        self.sizes = [path.read_bytes() for path in self.paths]\n"
        '        self.ids = [f"{folder',
        "dataset:kit-files:lists-only",
        "load opened 260 files for 260 patches",
    ),
    "groups of some": (
        "[id_[-1] for id_ in test.ids]",
        "[id_[-1] for id_ in test.ids[1:]]",
        "dataset:kit-files:groups",
        "59 groups for 60 test patches",
    ),
    "groups of some training patches": (
        "groups=[id_[-1] for id_ in test.ids])",
        "groups=[id_[-1] for id_ in test.ids], train_groups=train.ids[1:])",
        "dataset:kit-files:groups",
        "groups for 200 training patches",
    ),
    "a perturbation to floats": (
        "    return np.clip(noisy, 0, 255).astype(np.uint8)\n",
        "    return np.clip(noisy, 0, 255)\n",
        "perturbation:kit-noise:same-shape",
        "level 5 made float64",
    ),
    "a perturbation that turns": (
        "    return np.clip(noisy, 0, 255).astype(np.uint8)\n",
        "    return np.clip(noisy, 0, 255).astype(np.uint8).transpose(1, 0, 2)\n",
        "perturbation:kit-noise:not-square",
        "uint8 (224, 168, 3) of uint8 (168, 224, 3)",
    ),
    "a perturbation with global random numbers": (
        NOISE,
        "    noisy = patch + np.random.normal(0, level, patch.shape)\n",
        "perturbation:kit-noise:same-seed",
        "draw from rng alone",
    ),
    "a perturbation in place": (
        NOISE,
        "    patch[:] = 0\n" + NOISE,
        "perturbation:kit-noise:inputs-unchanged",
        "level 5 changed its input in place",
    ),
    "a perturbation past numpy": (
        NOISE,
        NOISE + "    __import__('ctypes').memset(patch.ctypes.data, 0, patch.nbytes)\n",
        "perturbation:kit-noise:inputs-unchanged",
        "level 5 changed its input in place",
    ),
    "a perturbation that does nothing": (
        NOISE,
        "    noisy = patch\n",
        "perturbation:kit-noise:changes",
        "level 5 changes nothing",
    ),
    "steering without a target": (
        "    return np.clip(patch + target - patch.mean(axis=(0, 1)), 0, 255).astype(np.uint8)\n",
        "    return patch.copy()\n",
        "perturbation:kit-toward:changes",
        "no class's look changes a patch",
    ),
    "a finding that is no JSON": (
        SUMMARY,
        "    reading = np.float32(reading)\n" + SUMMARY,
        "dataset-probe:kit-brightness:finding",
        "the finding is no JSON",
    ),
    "a finding at random": (
        SUMMARY,
        "    reading += np.random.random()\n" + SUMMARY,
        "dataset-probe:kit-brightness:same-again",
        "it found two different things",
    ),
    "a plot of nothing": (
        "    return picture\n",
        "",
        "dataset-probe:kit-brightness:plots",
        "plot 'bright' returned a NoneType",
    ),
    "a gallery of what is not there": (
        "lambda finding: []",
        'lambda finding: [("bright", ("nowhere",))]',
        "dataset-probe:kit-brightness:galleries",
        "gallery 'brightest' shows ('nowhere',) as 'bright'",
    ),
    "a column of no figure": (
        '                    estimate="steady",\n',
        '                    estimate="sturdy",\n',
        "model-probe:kit-steadiness:columns",
        "shows the figure 'sturdy'; there is steady",
    ),
    "a probe that needs what is not there": (
        'needs=lambda perturbations: ["kit-noise"]',
        'needs=lambda perturbations: ["kit-noises"]',
        "model-probe:kit-steadiness:needs",
        "it needs kit-noises, which no plugin offers",
    ),
    "a probe that takes logits for granted": (
        "    if noisy is None:\n        return None\n",
        "",
        "model-probe:kit-steadiness:nothing-stored",
        "raised AttributeError",
    ),
    "a phantom at random": (
        "    rng = np.random.default_rng(seed)\n    images",
        "    rng = np.random.default_rng()\n    images",
        "phantom:kit-phantom:same-seed",
        "seed 0 gave other patches the second time",
    ),
    "a fault that is none": (
        'doses.get("light", 0)',
        'doses.get("lite", 0)',
        "phantom:kit-phantom:faults-show",
        "the fault 'light' changes no patch",
    ),
    "a fault that no probe looks for": (
        'raises=("kit-brightness",), fitted',
        'raises=("kit-darkness",), fitted',
        "phantom:kit-phantom:raises",
        "raises kit-darkness, which no plugin offers",
    ),
    "a fault at random": (
        "np.clip(patch + np.float64(level), 0, 255)",
        "np.clip(patch + np.random.default_rng().normal(level, 9, patch.shape), 0, 255)",
        "fault:kit-brighter:same-seed",
        "the same patch, level and seed gave different patches",
    ),
    "a fault planted in place": (
        "    return np.clip(patch + np.float64(level), 0, 255)",
        "    patch[:] += 1\n    return np.clip(patch + np.float64(level), 0, 255)",
        "fault:kit-brighter:inputs-unchanged",
        "level 0 changed its input in place",
    ),
    "a fault that does not show": (
        "levels=lambda dose: (0, dose)",
        "levels=lambda dose: (0, 0)",
        "fault:kit-brighter:shows",
        "no level changes a patch",
    ),
    "a fault of one class": (
        "levels=lambda dose: (0, dose)",
        "levels=lambda dose: (dose,)",
        "fault:kit-brighter:doses",
        "dose 10 has 1 levels",
    ),
    "a fault of floats": (
        "np.clip(patch + np.float64(level), 0, 255).astype(np.uint8)",
        "np.clip(patch + np.float64(level), 0, 255)",
        "fault:kit-brighter:same-shape",
        "level 0 made float64",
    ),
    "a published percentage": (
        "            accuracy=0.7,\n",
        "            accuracy=70,\n",
        "plugin:kit:loads",
        "accuracy = 70 must be a fraction of 1",
    ),
    "nothing published": (
        "            accuracy=0.7,\n",
        "",
        "published:kit-deep:figure",
        "no figure",
    ),
    "a confusion matrix of other patches": (
        "((4, 1), (2, 3))",
        "((4, 1), (2, 4))",
        "published:kit-deep:confusion",
        "counts 11 patches, n is 10",
    ),
    "a confusion matrix without classes": (
        "            classes=CLASSES,\n        )\n    ]",
        "        )\n    ]",
        "published:kit-deep:confusion",
        "0 classes are named for the 2 rows of the confusion matrix",
    ),
    "a confusion matrix of another accuracy": (
        "((4, 1), (2, 3))",
        "((4, 1), (3, 2))",
        "published:kit-deep:confusion",
        "accuracy 0.7000, and 0.6000 by the confusion matrix",
    ),
    "no source": (
        'source="a paper, Table 1"',
        'source=""',
        "published:kit-deep:source",
        "source is empty",
    ),
    "a reader that trusts": (
        '    if unknown or "folder" not in content:\n',
        "    if unknown:\n",
        "reader:kit-folder:empty-file",
        "raised KeyError",
    ),
    "a reader that overlooks": (
        '    if unknown or "folder" not in content:\n'
        '        raise HarnessError(f"{path}: say folder, and nothing else but kind")\n',
        "    content = {'folder': '.', **content}\n",
        "reader:kit-folder:unknown-keys",
        "was read as 1 contributions",
    ),
    "a metric that is no number": (
        "    return given.mean(given.probabilities.max(axis=1))\n",
        '    return Estimate(name="x", value=float("nan"))\n',
        "metric:kit-sure:estimate",
        "return None where it is not defined; return harness.Estimate",
    ),
    "a metric of the first patches": (
        "    return given.mean(given.probabilities.max(axis=1))\n",
        '    return Estimate(name="x", value=float(given.probabilities[:5].max(axis=1).mean()))\n',
        "metric:kit-sure:any-order",
        "in another order; let each patch count for itself",
    ),
    "a metric that writes": (
        "    return given.mean(given.probabilities.max(axis=1))\n",
        "    given.labels.setflags(write=True)\n    given.labels[:] = 0\n"
        "    return given.mean(given.probabilities.max(axis=1))\n",
        "metric:kit-sure:inputs-unchanged",
        "value changed labels, logits or probabilities in place",
    ),
    "a metric that takes probabilities for granted": (
        "    if given.probabilities is None:\n        return None\n",
        "",
        "metric:kit-sure:no-probabilities",
        "raised AttributeError",
    ),
    "a report of no file": (
        "    path.write_text(str(len(board.rows)))\n",
        "",
        "report:kit-count:files",
        "where there is no file; return the paths of the files in the folder",
    ),
    "a report that is the same for every dataset": (
        """    path = folder / f"{board.dataset['name']}-kit.txt"\n""",
        '    path = folder / "kit.txt"\n',
        "report:kit-count:files",
        "it wrote kit.txt; begin the name with that of the dataset",
    ),
    "a report that changes the board": (
        "    return [path]\n",
        "    board.rows.clear()\n    return [path]\n",
        "report:kit-count:rows-unchanged",
        "write changed the rows of the board",
    ),
    "an option that is there already": (
        '    parser.add_argument("--rows", help="how many")\n',
        '    parser.add_argument("--store", help="how many")\n',
        "command:kit-rows:arguments",
        "conflicting option string: --store",
    ),
    "a help that cannot be shown": (
        'help="how many")',
        'help="how many %")',
        "command:kit-rows:arguments",
        "write %% for % in a help",
    ),
    "an executor that computes nothing": (
        "        answers = jobs.run(self.session.as_json(), [job.as_json() for job in group])\n",
        "        answers = [{}] * len(group)\n",
        "executor:kit-here:computes",
        "says that it is done, but it is not in the store",
    ),
    "an executor that forgets a job": (
        "            self.events.append(Event(group, job, jobs.problem(self.session, answer)))\n",
        "            pass\n",
        "executor:kit-here:computes",
        "ended a group without a word about 1 of its jobs",
    ),
    "an executor that hides what went wrong": (
        "Event(group, job, jobs.problem(self.session, answer))",
        "Event(group, job, None) if not answer.get('why') else Event(group)",
        "executor:kit-here:failures",
        "ended a group without a word",
    ),
    "an executor that raises": (
        "        return self.events.pop(0) if self.events else None\n",
        "        return self.events[5]\n",
        "executor:kit-here:computes",
        "the executor kit-here raised IndexError",
    ),
}


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """A data folder with 200 training and 60 test patches of the kit's dataset."""
    folder = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    for part, n in (("train", 200), ("test", 60)):
        (folder / "kit" / part).mkdir(parents=True)
        for row in range(n):
            image = rng.integers(100 * (row % 2), 255, (24, 24, 3), dtype=np.uint8)
            cv2.imwrite(str(folder / "kit" / part / f"{row % 2}-{row}.png"), image)
    return folder


@pytest.mark.parametrize("broken", BROKEN)
def test_a_broken_promise_is_named(broken, data, tmp_path, monkeypatch):
    old, new, promise, message = BROKEN[broken]
    assert KEPT.count(old) == 1 or old == "import numpy as np\n", "the kit has changed"
    file = tmp_path / "kit.py"
    file.write_text(KEPT.replace(old, new, 1), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    if "home folder" in broken:
        monkeypatch.setenv("HOME", str(tmp_path))
    bench = bench_for(files=[file], data=data)
    (case,) = (case for case in cases(bench, ["kit"]) if str(case) == promise)
    outcome = case.check(bench)
    assert outcome.status == "BROKEN", outcome
    assert message in outcome.message
    assert case.text in str(outcome)
    assert "Traceback" not in str(outcome)
    assert "\n" not in outcome.message


# What is replaced by what; what is checked; how often which outcome comes, and what one says.
ONCE = {
    "fit returns nothing": ("    return best\n", "", "kit-nearest", "fit returned a NoneType"),
    "load returns nothing": (
        '    return Nearest(np.load(folder / "means.npy"))\n',
        "    pass\n",
        "kit-nearest",
        "load returned a NoneType without logits and save",
    ),
    "a dataset that is none": (
        "            load=list_files,\n",
        "            load=lambda folder: None,\n",
        "kit-files",
        "NoneType",
    ),
}


def outcomes(name, folder, data, *, dataset=None, replace=()):
    """What comes of all promises of something in the kit with this replaced."""
    source = KEPT
    for old, new in replace:
        assert source.count(old) == 1, "the kit has changed"
        source = source.replace(old, new)
    file = folder / "kit.py"
    file.write_text(source, encoding="utf-8")
    bench = bench_for(files=[file], data=data, dataset=dataset)
    return {str(case): case.check(bench) for case in cases(bench, [name])}


@pytest.mark.parametrize("broken", ONCE)
def test_a_fault_is_reported_once(broken, data, tmp_path):
    old, new, name, message = ONCE[broken]
    found = outcomes(name, tmp_path, data, replace=[(old, new)])
    (outcome,) = (outcome for outcome in found.values() if outcome.status == "BROKEN")
    assert message in outcome.message


def test_an_exception_is_where_the_plugin_lets_it_happen(data, tmp_path):
    raising = "        np.linalg.inv(np.zeros((3, 3)))\n"
    found = outcomes("kit-nearest", tmp_path, data, replace=[(LOGITS, raising + LOGITS)])
    line = (tmp_path / "kit.py").read_text().splitlines().index(raising.rstrip()) + 1
    said = f"raised LinAlgError: Singular matrix ({tmp_path / 'kit.py'}:{line})"
    assert found["model:kit-nearest:fits"].message == said


def test_two_classes_are_enough(data, tmp_path):
    """For a model that cannot do with one, and features that cannot be of no patch."""
    one_by_one = "    return np.array([image.mean(axis=(0, 1)) for image in images], np.float32)\n"
    colors = "    colors = train.read(np.arange(len(train.labels)))\n"
    refused = "    if len(set(train.labels)) < 2:\n        raise ValueError\n"
    replace = [(EXTRACT, one_by_one), (colors, refused + colors)]
    found = outcomes("kit-colors", tmp_path, data, dataset="kit-files", replace=replace)
    assert [str(outcome) for outcome in found.values() if outcome.status == "BROKEN"] == []
    assert found["features:kit-colors:threads"].status == "ok"
    assert found["model:kit-colors:missing-class"].status == "skipped"


def test_a_perturbation_may_act_with_a_probability(data, tmp_path):
    often_nothing = "    noisy = patch + (rng.random() > 0.9) * 50\n"
    assert np.random.default_rng(7).random() < 0.9
    found = outcomes("kit-noise", tmp_path, data, replace=[(NOISE, often_nothing)])
    assert {outcome.status for outcome in found.values()} == {"ok"}


READS_ELSEWHERE = """
class Elsewhere:
    def __init__(self, split):
        self.split, self.labels = split, split.labels

    def read(self, indices):
        import os, pickle

        answer, end = os.pipe()
        if not os.fork():
            os.write(end, pickle.dumps(self.split.read(indices).mean(axis=(1, 2), keepdims=True)))
            os._exit(0)
        os.wait()
        with open(answer, "rb") as file:
            return pickle.load(file)


def fit(train, validation, context):
    train, validation = Elsewhere(train), Elsewhere(validation)
"""


def test_a_model_may_read_in_other_processes(data, tmp_path):
    found = outcomes(
        "kit-nearest",
        tmp_path,
        data,
        replace=[("\ndef fit(train, validation, context):\n", READS_ELSEWHERE)],
    )
    assert [str(outcome) for outcome in found.values() if outcome.status == "BROKEN"] == []
    for promise in ("selects", "resumes"):
        outcome = found[f"model:kit-nearest:{promise}"]
        assert outcome.status == "skipped"
        assert "in this process" in outcome.message


@pytest.mark.parametrize(
    ("kept", "status"),
    [("", "ok"), ("        self.__dict__.setdefault('seen', []).extend(found)\n", "BROKEN")],
)
def test_patches_that_a_dataset_keeps_are_noticed(kept, status, data, tmp_path):
    larger = "        found = [cv2.resize(image, (512, 512)) for image in found]\n"
    found = outcomes("kit-files", tmp_path, data, replace=[(READ, READ + larger + kept)])
    outcome = found["dataset:kit-files:memory"]
    assert outcome.status == status
    assert not kept or "MiB were held; keep no decoded patches" in outcome.message


def test_a_dataset_needs_no_patches_of_another(command, data):
    output = command("check", "kit-files", "--plugin", KIT, "--data", data, "--without", "nct_crc")
    assert output.splitlines()[-1] == "14 promises: 0 broken, 3 skipped"


def test_hooks_are_traced(command):
    output = command("check", "kit-sum", "--plugin", KIT, "--trace-hooks")
    assert "hook: kit: harness_models() returned Model kit-nearest" in output


def test_whoever_keeps_every_promise_passes_in_a_fresh_process(command, data):
    output = command("check", "kit", "--plugin", KIT, "--data", data)
    assert "BROKEN" not in output
    assert ": 0 broken," in output
    assert output.rstrip().endswith("; patches of nct-crc-he-sample")
    tried = {promise for _, _, promise, _ in BROKEN.values()}
    assert tried <= {line.split()[1] for line in output.splitlines() if line.startswith("ok")}


def test_a_broken_one_ends_with_1_and_no_traceback_unless_asked(command, data, tmp_path):
    file = tmp_path / "kit.py"
    file.write_text(KEPT.replace(RNG, RNG + '    raise ValueError("no such thing")\n'))
    output = command("check", "kit-nearest", "--plugin", file, "--data", data, code=1)
    assert "BROKEN   model:kit-nearest:fits\n" in output
    assert f"raised ValueError: no such thing ({file}:" in output
    assert output.count("BROKEN") == 1  # the rest is skipped, for this reason
    import subprocess

    shown = subprocess.run(
        command.arguments("check", "kit-nearest", "--plugin", file, "--traceback"),
        cwd=tmp_path,
        env=command.environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" in shown.stdout
    assert 'raise ValueError("no such thing")' in shown.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["check"], "check: name a plugin"),
        (["check", "kit-neerest"], "did you mean kit-nearest"),
        (["check", "kit-nearest", "--dataset", "nowhere"], "no dataset named 'nowhere'"),
        (["check", "kit-nearest", "--set", "epoch=1"], "did you mean epochs?"),
    ],
)
def test_usage(command, arguments, message):
    assert message in command(*arguments, "--plugin", KIT, code=2)


def test_promises_are_listed(command):
    output = command("check", "--promises")
    assert "any-batch" in output
    assert "The logits of a patch do not depend on the size of its batch" in output
