"""BLEU of generated segments by the programs whose numbers are published: sacrebleu, and Moses' multi-bleu.perl.

    python scripts/oracles/bleu.py --multi-bleu PATH    writes crates/kd-translation/tests/golden/bleu.json

PATH is `scripts/generic/multi-bleu.perl` of Moses, commit 31473d88f8ab; Perl runs it. Of every segment the file has sacrebleu's tokens (13a) of
the hypothesis and its statistics; of every corpus, a range of segments, the scores of both programs. Segments are made up: words of
several scripts, numbers, dates, money, entities, punctuation in odd places; hypotheses are damaged references.
"""

import argparse
import hashlib
import json
import pathlib
import random
import subprocess
import tempfile

import sacrebleu
from sacrebleu.metrics import BLEU
from sacrebleu.tokenizers.tokenizer_13a import Tokenizer13a

LATIN = """the a of to and in that is was for on with as it at by from this not are which be one two three house river market old new green
small large man woman dog cat children walk see bring under over before after street city light water music paper window summer winter
The A In It When Paris London Anna Peter""".split()
OTHERS = """der die das und nicht mit über für Straße Übergang schön größer Männer läuft fährt Äpfel și în câteva mașină țară frânghie
été garçon naïve œuvre Çelik ŞIŞLI İstanbul ñandú señor Ελλάδα και λόγος Москва поезд быстро שלום مرحبا ไทย हिन्दी""".split()
CJK = "我 你 他们 今天 去 市场 买 水果 。 東京 です これは 本 한국어 사람 “引用” 、 ， （括号） 「鉤」".split()
ODD = """don't can't it's o'clock rock'n'roll 'quoted' "double" (round) [square] {curly} <tag> a/b and/or e-mail well-known twenty-one 1990s-era
3-4 10-year 5-mile pages 7-12 2020-11-22 12:30 9:05:01 1,000 1,234,567.89 0.5 .5 5. 1. 3,14 12.5% 100% $5 $1,000.50 €20 20€ £7.99 ¥300 #1 @name
user@example.org www.example.org/a?b=c&d=e C++ x=y+z 2*3 2^10 snake_case back\\slash `code` a|b ~5 U.S. U.K. e.g. i.e. Mr. Dr. etc. no.5 No.5,6 ...
…wait ... -- — – - .. , ,, . ; : ! ? !! ?! ¿Qué? ¡Sí! «guillemets» „low“ ‚single‘ &quot;entity&quot; &amp; AT&amp;T &lt;b&gt; &apos;s &amp;lt; R&D &#39; ™ © ½
10°C 5µm x² 🙂 👩‍💻 <skipped> a<skipped>b 1.2.3.4 v2.0-rc1 -5 +5 ±3 4x4 24/7 (a),(b) word,word word.word 5,word word,5 5.word word.5 ,5 .word
.,. ,.5 5-. -.5 '- A- 5--6 a-5 5-a""".split()


def sentence(rng, kind):
    pools = {
        "latin": [LATIN] * 9 + [ODD],
        "odd": [LATIN] * 2 + [ODD] * 3,
        "unicode": [LATIN, OTHERS, OTHERS, ODD],
        "cjk": [CJK, CJK, CJK, LATIN, ODD],
        "few": [LATIN[:6]],
    }[kind]
    words = [rng.choice(rng.choice(pools)) for _ in range(rng.choice([1, 2, 3, 4, 5, 6, 8, 8, 10, 12, 15, 20, 30]))]
    # Some punctuation clings to its word, on either side.
    words = [w + rng.choice(",.;:!?%)\"'-") if rng.random() < 0.12 else w for w in words]
    words = [rng.choice("(\"'$-#[") + w if rng.random() < 0.05 else w for w in words]
    text = " ".join(words)
    return text + rng.choice([".", "!", "?", " .", "", "…", ".\"", ".)", ",", "。", " "]) if rng.random() < 0.8 else text


def damaged(rng, text, amount):
    words = text.split(" ")
    for _ in range(rng.randrange(amount + 1)):
        if not words:
            break
        i = rng.randrange(len(words))
        act = rng.randrange(7)
        if act == 0:
            del words[i]
        elif act == 1:
            words.insert(i, rng.choice(LATIN + ODD))
        elif act == 2:
            words[i] = rng.choice(LATIN + OTHERS)
        elif act == 3:
            words.insert(i, words[i])
        elif act == 4:
            j = rng.randrange(len(words))
            words[i], words[j] = words[j], words[i]
        elif act == 5:
            words[i] = words[i].swapcase()
        else:
            words[i:i] = words[i : i + 4]
    return " ".join(words)


def segments():
    rng = random.Random(20260921)
    made = []
    for kind, n, references in [("latin", 700, 1), ("odd", 500, 1), ("unicode", 300, 1), ("cjk", 150, 1), ("few", 150, 4), ("latin", 250, 4),
                                ("odd", 150, 2), ("unicode", 200, 3)]:
        for _ in range(n):
            first = sentence(rng, kind)
            refs = [first] + [damaged(rng, first, 6) if rng.random() < 0.8 else sentence(rng, kind) for _ in range(references - 1)]
            hypothesis = damaged(rng, rng.choice(refs), rng.choice([0, 1, 3, 6, 12]))
            if rng.random() < 0.02:
                hypothesis = ""
            if rng.random() < 0.03:
                hypothesis = sentence(rng, kind)
            if rng.random() < 0.03:
                hypothesis = "  " + hypothesis.replace(" ", "  ", 2) + " "
            made.append((hypothesis, refs))
    return made


def corpora(n):
    """Ranges: the parts with different numbers of references, tens, single segments, and whole runs of one number of references."""
    parts = [(0, 700), (700, 1200), (1200, 1500), (1500, 1650), (1650, 1800), (1800, 2050), (2050, 2200), (2200, 2400), (0, 1650)]
    tens = [(i, i + 10) for i in range(0, n, 40)]
    singles = [(i, i + 1) for i in range(5, n, 60)]
    return parts + [r for r in tens if inside(r, parts)] + singles


def inside(r, parts):
    return any(a <= r[0] and r[1] <= b for a, b in parts[:8])


def multi_bleu(script, hypotheses, references, options):
    with tempfile.TemporaryDirectory() as folder:
        stem = pathlib.Path(folder) / "reference"
        for i in range(len(references[0])):
            lines = [refs[i] + "\n" for refs in references]
            pathlib.Path(f"{stem}{i}").write_text("".join(lines), encoding="utf-8")
        text = "".join(h + "\n" for h in hypotheses)
        run = subprocess.run(["perl", script, *options, stem], input=text.encode(), capture_output=True, env={"LC_ALL": "C"})
        # The script divides by zero where there are no tokens; then it prints nothing.
        return run.stdout.decode().strip()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--multi-bleu", required=True, type=pathlib.Path)
    script = parser.parse_args().multi_bleu
    made = segments()
    bleu, plain = BLEU(), BLEU(tokenize="none", smooth_method="none", force=True)
    cut = Tokenizer13a()
    lines = []
    for hypothesis, refs in made:
        statistics = [m._extract_corpus_statistics([hypothesis], [[r] for r in refs])[0] for m in (bleu, plain)]
        lines.append({"hypothesis": hypothesis, "references": refs, "tokens": cut(hypothesis.rstrip()), "13a": statistics[0], "none": statistics[1]})
    scores = []
    for start, end in corpora(len(made)):
        hypotheses, refs = [m[0] for m in made[start:end]], [m[1] for m in made[start:end]]
        by_reference = [[r[i] for r in refs] for i in range(len(refs[0]))]
        score, unsmoothed = bleu.corpus_score(hypotheses, by_reference), plain.corpus_score(hypotheses, by_reference)
        scores.append({
            "start": start, "end": end, "score": score.score, "precisions": score.precisions, "brevity": score.bp, "none": unsmoothed.score,
            "multi_bleu": multi_bleu(script, hypotheses, refs, []), "multi_bleu_lc": multi_bleu(script, hypotheses, refs, ["-lc"]),
        })
    extra = ["", " ", "a-\nb c\nd", "\u00a0a\u00a0b\u3000c", "a\x1cb\x1dc\x1ed\x1fe", "5\n-6", "x\r\ny", "\u2028a", "a\u200bb", "٣,٤ ٣.٤", "१.२"]
    golden = {
        "sacrebleu": sacrebleu.__version__,
        # Without the number of references, which differs.
        "signature": str(bleu.get_signature()).split("|", 1)[1],
        "multi_bleu_sha256": hashlib.sha256(script.read_bytes()).hexdigest(),
        "tokenized": [[text, cut(text)] for text in extra],
    }
    head = ",\n".join(f"{json.dumps(k)}: {json.dumps(v, ensure_ascii=False)}" for k, v in golden.items())
    body = [f"{json.dumps(name)}: [\n" + ",\n".join(json.dumps(x, ensure_ascii=False, separators=(",", ":")) for x in rows) + "\n]"
            for name, rows in (("corpora", scores), ("segments", lines))]
    path = pathlib.Path(__file__).parents[2] / "crates/kd-translation/tests/golden/bleu.json"
    path.write_text("{\n" + ",\n".join([head, *body]) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
