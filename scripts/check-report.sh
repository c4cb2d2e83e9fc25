#!/usr/bin/env bash
# Looks at the page of the committed results in headless Chromium: no errors in its console, columns sort, filters filter, a link to a cell
# opens it, nothing is wider than a screen of 390 pixels but what scrolls, in light and in dark.
#
#   scripts/check-report.sh [FOLDER]      # the page and its pictures stay in FOLDER, a new one in /tmp otherwise, to be looked at
#
# Needs Chromium (`apt install chromium`), or CHROMIUM=/path/to/it.
set -euo pipefail
cd "$(dirname "$0")/.."
chromium=${CHROMIUM:-chromium}
command -v "$chromium" >/dev/null || { echo "expected Chromium as $chromium, found none" >&2; exit 2; }
folder=${1:-$(mktemp -d)}
mkdir -p "$folder"
cargo run -q -p hinton-mnist -- report --to "$folder/report.html" --force

# The page with questions at its end, whose answers stand in its title.
cat > "$folder/questions.js" <<'JS'
const answers = [];
const ask = (what, yes) => answers.push((yes ? "ok " : "NOT ") + what);
const button = [...document.querySelectorAll("th button")].find((b) => b.textContent === "measured");
const heading = button.closest("th");
const values = () => [...heading.closest("table").tBodies[0].rows].map((r) => Number(r.children[2].dataset.value));
button.click();
ask("a column sorts up", values().every((v, i, all) => i === 0 || all[i - 1] <= v) && heading.getAttribute("aria-sort") === "ascending");
button.click();
ask("and down", values().every((v, i, all) => i === 0 || all[i - 1] >= v) && heading.getAttribute("aria-sort") === "descending");
const shown = () => document.querySelectorAll("article:not([hidden])").length;
const all = shown();
const preset = document.querySelector("select[name=preset]");
preset.value = "paper";
preset.dispatchEvent(new Event("change"));
ask("a filter hides the others", shown() > 0 && shown() < all);
preset.value = "";
preset.dispatchEvent(new Event("change"));
ask("and shows them again", shown() === all);
ask("every control has a name", [...document.querySelectorAll("button, select, a")].every((e) => (e.labels?.[0] ?? e).textContent.trim() !== ""));
ask("every picture has a name", [...document.images].every((i) => i.alt !== "" && i.complete && i.naturalWidth > 0));
ask("every link leads to a cell", [...document.querySelectorAll("a")].every((a) => document.getElementById(a.hash.slice(1))));
ask("nothing is wider than the screen", document.documentElement.scrollWidth <= 390);
const cell = document.querySelector("details[id]");
location.hash = cell.id;
setTimeout(() => {
  ask("a link opens its cell", cell.open);
  document.body.dataset.answers = answers.join("; ");
}, 300);
JS
python3 - "$folder" <<'PY'
import pathlib, sys
folder = pathlib.Path(sys.argv[1])
page = (folder / "report.html").read_text()
frame = '<!doctype html><meta charset="utf-8"><body style="margin:0"><iframe id="f" style="width:390px;height:900px;border:0"></iframe>'
asked = page.replace("</body>", "<script>" + (folder / "questions.js").read_text() + "</script></body>")
(folder / "asked.html").write_text(asked)
# Chromium's window is at least 500 pixels wide; a frame can be as narrow as a telephone.
frame += '<script>const f = document.getElementById("f"); f.src = "asked.html"; setTimeout(() => { document.body.dataset.answers = f.contentDocument.body.dataset.answers; }, 3000);</script>'
(folder / "frame.html").write_text(frame)
PY
run() {
    "$chromium" --headless=new --no-sandbox --disable-gpu --hide-scrollbars --user-data-dir="$folder/profile" --allow-file-access-from-files \
        --enable-logging=stderr "$@" 2>"$folder/log"
    if grep -q 'CONSOLE' "$folder/log"; then
        grep 'CONSOLE' "$folder/log" >&2
        exit 1
    fi
}
run --virtual-time-budget=8000 --dump-dom "file://$(realpath "$folder")/frame.html" > "$folder/dom.html"
answers=$(grep -o 'data-answers="[^"]*"' "$folder/dom.html" | head -1 | sed 's/^data-answers="//; s/"$//')
echo "${answers//; /$'\n'}"
run --window-size=1200,1400 --screenshot="$folder/wide.png" "file://$(realpath "$folder")/report.html"
run --window-size=500,1400 --force-dark-mode --screenshot="$folder/dark.png" "file://$(realpath "$folder")/report.html"
echo "look at $folder/wide.png and $folder/dark.png"
[ "$(grep -o 'ok ' <<<"$answers" | wc -l)" = 9 ] && ! grep -q 'NOT ' <<<"$answers"
