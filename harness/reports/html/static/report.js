const $ = (id) => document.getElementById(id);
const data = JSON.parse($("data").textContent);
const pictures = new Map(Object.entries(JSON.parse($("pictures").textContent)));
for (const image of document.querySelectorAll("img[title]")) pictures.set(image.title, image.src);
const { patches, pairs, audit } = data;
const places = new Map(patches.ids.map((id, k) => [id, k]));
const PAGE = 60;
const SECTIONS = ["board", "models", "compare", "audit", "patches"];
const dark = matchMedia("(prefers-color-scheme: dark)");
const paint = () => document.documentElement.classList.toggle("dark", dark.matches);
dark.addEventListener("change", paint);
paint();

// The address: #part?key=value&... keeps what a reader has chosen.
const parse = () => {
  const [name, query = ""] = location.hash.slice(1).split("?");
  let decoded = "board";
  try {
    decoded = decodeURIComponent(name) || "board";
  } catch {
    // Not an address of this page.
  }
  return [decoded, new URLSearchParams(query)];
};
const remember = (name, values) => {
  const query = new URLSearchParams(Object.entries(values).filter(([, value]) => value !== ""));
  const hash = `#${name}${String(query) ? `?${query}` : ""}`;
  if (hash !== location.hash) history.replaceState(null, "", hash);
  // What was chosen in a part is still there when a reader comes back to it.
  document.querySelector(`nav a[data-part=${name}]`)?.setAttribute("href", hash);
};
const element = (tag, text = "", attributes = {}) => {
  const made = document.createElement(tag);
  made.textContent = text;
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
};

// Board: numbers are sorted before words, and empty cells stand last in both directions.
const kind = (value) => (value === "" ? 2 : typeof value === "string" ? 1 : 0);
const by = (sign) => (a, b) => kind(a) - kind(b) || sign * (a < b ? -1 : a > b ? 1 : 0);
DataTable.type("cell", {
  order: {
    pre: (text) => (text === "" || isNaN(text) ? text.toLowerCase() : Number(text)),
    asc: by(1),
    desc: by(-1),
  },
  search: (html) => DataTable.util.stripHtml(html),
});
const headings = [...$("board-table").tHead.rows[0].cells];
const names = headings.map((cell) => cell.dataset.name);
const filters = ["kind", "protocol", "weights"];
const shownByDefault = headings.map((cell) => cell.dataset.default === "1");
const table = new DataTable("#board-table", {
  paging: false,
  info: false,
  order: [],
  autoWidth: false,
  orderClasses: false,
  columnDefs: [
    { targets: "_all", type: "cell" },
    { targets: shownByDefault.flatMap((on, k) => (on ? [] : [k])), visible: false },
  ],
  language: { search: "Search rows:" },
});
DataTable.ext.search.push((settings, _, index) => {
  if (settings.nTable.id !== "board-table") return true;
  const { result, protocol, weights } = table.row(index).node().dataset;
  const wanted = filters.map((id) => $(id).value);
  return [result, protocol, weights].every((is, k) => !wanted[k] || is === wanted[k]);
});
const boxes = names.map((name, k) => {
  const label = element("label");
  const box = element("input", "", { type: "checkbox" });
  box.checked = shownByDefault[k];
  box.addEventListener("change", () => {
    table.column(k).visible(box.checked);
    keepBoard();
  });
  label.append(box, ` ${headings[k].firstChild.textContent.trim()}`);
  $("columns").append(label);
  return box;
});
let reading = false;
function keepBoard() {
  if (reading || current !== "board") return;
  const [first] = table.order();
  const visible = names.filter((_, k) => boxes[k].checked);
  const usual = boxes.every((box, k) => box.checked === shownByDefault[k]);
  remember("board", {
    order: first && first[1] ? `${names[first[0]]}.${first[1]}` : "",
    search: table.search(),
    ...Object.fromEntries(filters.map((id) => [id, $(id).value])),
    columns: usual ? "" : visible.join(","),
  });
}
function readBoard(query) {
  reading = true;
  for (const id of filters) {
    $(id).value = query.get(id) ?? "";
    if ($(id).selectedIndex < 0) $(id).value = ""; // What no row is any more.
  }
  const columns = query.get("columns")?.split(",");
  boxes.forEach((box, k) => {
    box.checked = columns ? columns.includes(names[k]) : shownByDefault[k];
    if (table.column(k).visible() !== box.checked) table.column(k).visible(box.checked, false);
  });
  const [name, direction] = (query.get("order") ?? "").split(/\.(?=asc$|desc$)/);
  const at = names.indexOf(name);
  table.order(at < 0 ? [] : [[at, direction]]);
  table.search(query.get("search") ?? "").draw();
  reading = false;
}
table.on("draw", keepBoard);
$("board-table").addEventListener("click", (event) => {
  event.target.closest(".clamp")?.classList.toggle("open");
});
for (const id of filters) $(id).addEventListener("change", () => table.draw());

// Models
const articles = [...document.querySelectorAll("article.model")];
function showModel(anchor) {
  for (const one of articles) one.hidden = one.id !== anchor;
}

// Compare two
const points = (value) => {
  const text = (100 * value).toFixed(1);
  return (value > 0 ? "+" : "") + text.replace("-", "−");
};
function pairOf(one, other) {
  const found = pairs.pairs.find((p) => [p.one, p.other].sort().join() === [one, other].sort().join());
  if (!found) return null;
  const sign = found.one === one ? 1 : -1;
  const turned = ([name, value, low, high]) =>
    sign > 0 ? [name, value, low, high] : [name, -value, -high, -low];
  return { ...found, figures: found.figures.map(turned), recalls: found.recalls.map(turned) };
}
function differences(title, rows) {
  const made = element("table", "", { class: "plain" });
  made.append(element("caption", title));
  const head = made.createTHead().insertRow();
  for (const text of ["", "difference, points", "95 % interval"]) head.append(element("th", text, { scope: "col" }));
  const body = made.createTBody();
  for (const [name, value, low, high] of rows) {
    const row = body.insertRow();
    row.append(element("th", pairs.named[name] ?? name, { scope: "row" }), element("td", points(value)));
    row.append(element("td", low === null ? "" : `${points(low)} to ${points(high)}`));
  }
  return made;
}
function compare() {
  const [one, other] = ["one", "other"].map((id) => pairs.models.indexOf($(id).value));
  const pair = pairOf(one, other);
  $("pair-figures").replaceChildren();
  $("pair-patches").replaceChildren();
  if (!pair) {
    $("pair-verdict").textContent = "Choose two different models.";
    return;
  }
  const [a, b] = [pairs.models[one], pairs.models[other]];
  const [, value, low, high] = pair.figures[0];
  const p = pair.holm ?? pair.p;
  const shown = (p) => (p < 0.001 ? "< 0.001" : p.toFixed(3));
  $("pair-verdict").textContent =
    `${a} minus ${b}: ${points(value)} points of accuracy (95 % interval ${points(low)} to ` +
    `${points(high)}); p ${shown(pair.p)}, ${shown(p)} corrected for the number of pairs. ` +
    (p < 0.05 ? "They differ." : "They cannot be distinguished on these patches.");
  $("pair-figures").append(
    differences(`${a} minus ${b}`, pair.figures),
    differences("Recall by class", pair.recalls),
  );
  const [left, right] = [a, b].map((name) => patches.models.find((m) => m.name === name).called);
  const groups = { [`Only ${a} is right`]: [], [`Only ${b} is right`]: [], "Both wrong, in different ways": [] };
  const [onlyLeft, onlyRight, neither] = Object.values(groups);
  patches.labels.forEach((label, k) => {
    if (left[k] === right[k]) return;
    (left[k] === label ? onlyLeft : right[k] === label ? onlyRight : neither).push(k);
  });
  for (const [title, found] of Object.entries(groups)) {
    $("pair-patches").append(element("h3", `${title}: ${found.length} patches`));
    const grid = element("div", "", { class: "patches" });
    for (const k of found.slice(0, PAGE)) {
      const called = [left, right].map((of) => patches.classes[of[k]]).join(" / ");
      grid.append(card([patches.ids[k]], `${patches.classes[patches.labels[k]]}, called ${called}`));
    }
    $("pair-patches").append(grid);
    if (found.length > PAGE) $("pair-patches").append(element("p", `${found.length - PAGE} more.`));
  }
  if (current === "compare") remember("compare", { one: a, other: b });
}
function readCompare(query) {
  if (!pairs.pairs.length) return;
  const wanted = [query.get("one") ?? pairs.models[0], query.get("other") ?? pairs.models[1]];
  ["one", "other"].forEach((id, k) => ($(id).value = wanted[k]));
  compare();
}
for (const id of ["one", "other"]) $(id)?.addEventListener("change", compare);

// Patches
function card(ids, caption) {
  const made = element("figure", "", { class: "patch", title: ids.join(", ") });
  for (const id of ids) {
    const alt = `${caption}: ${id}`;
    made.append(
      pictures.has(id)
        ? element("img", "", { src: pictures.get(id), alt, width: 96, height: 96 })
        : element("span", id, { class: "missing" }),
    );
  }
  made.append(element("figcaption", caption));
  return made;
}
const choices = ["shown", "of-model", "true-class", "predicted-class", "patch-order"];
let most = PAGE;
function showPatches() {
  const [shown, name, truth, predicted, order] = choices.map((id) => $(id).value);
  const model = patches.models.find((one) => one.name === name);
  if (!model) {
    $("patch-count").textContent = "No model was measured here.";
    $("more").hidden = true;
    return;
  }
  const { labels, classes } = patches;
  const told = (k) => {
    const sure = model.sure ? ` (${model.sure[k]} %)` : "";
    const right = model.called[k] === labels[k] ? "correctly " : "";
    return `${classes[labels[k]]}, ${right}called ${classes[model.called[k]]}${sure}`;
  };
  const table = audit.find((one) => shown === one.name);
  if (table) {
    // Patches of the test split can be told by class; others are training patches.
    const kept = table.rows.filter(({ ids }) => {
      const k = places.get(ids[0]);
      if (!truth && !predicted) return true;
      return (
        k !== undefined &&
        (!truth || classes[labels[k]] === truth) &&
        (!predicted || classes[model.called[k]] === predicted)
      );
    });
    $("patch-count").textContent = `${kept.length} of ${table.of} that the audit names`;
    $("patch-grid").replaceChildren(
      ...kept.map(({ ids, caption }) => {
        const k = places.get(ids[0]);
        const text = k === undefined ? caption : `${told(k)}; ${caption}`;
        return card(ids, text);
      }),
    );
    $("more").hidden = true;
    rememberPatches();
    return;
  }
  const found = [];
  labels.forEach((label, k) => {
    if (shown === "hard" && patches.models.some((one) => one.called[k] === label)) return;
    if (shown === "wrong" && model.called[k] === label) return;
    if (truth && classes[label] !== truth) return;
    if (predicted && classes[model.called[k]] !== predicted) return;
    found.push(k);
  });
  if (model.sure) {
    const sign = order === "sure" ? -1 : 1;
    found.sort((a, b) => sign * (model.sure[a] - model.sure[b]));
  }
  $("patch-count").textContent = `${found.length} of ${labels.length} test patches`;
  $("patch-grid").replaceChildren(
    ...found.slice(0, most).map((k) => card([patches.ids[k]], told(k))),
  );
  $("more").hidden = found.length <= most;
  rememberPatches();
}
function rememberPatches() {
  if (current !== "patches") return;
  const usual = (id) => $(id).value === $(id).options[0]?.value;
  remember("patches", Object.fromEntries(choices.map((id) => [id, usual(id) ? "" : $(id).value])));
}
function readPatches(query) {
  for (const id of choices) {
    const known = [...$(id).options].map((one) => one.value);
    $(id).value = known.includes(query.get(id)) ? query.get(id) : (known[0] ?? "");
  }
  most = PAGE;
  showPatches();
}
for (const id of choices) {
  $(id).addEventListener("change", () => {
    most = PAGE;
    showPatches();
  });
}
$("more").addEventListener("click", () => {
  most += PAGE;
  showPatches();
});

// On paper nothing is folded.
let unfolded = [];
addEventListener("beforeprint", () => {
  unfolded = [...document.querySelectorAll("details:not([open])")];
  for (const one of unfolded) one.open = true;
});
addEventListener("afterprint", () => {
  for (const one of unfolded) one.open = false;
});

// Parts
let current = "";
function show() {
  const [name, query] = parse();
  const target = document.getElementById(name);
  const part = SECTIONS.includes(name) ? name : target?.closest("section")?.id ?? "board";
  current = part;
  for (const id of SECTIONS) $(id).hidden = id !== part;
  for (const link of document.querySelectorAll("nav a[data-part]")) {
    if (link.dataset.part === part) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  if (part === "board") readBoard(query);
  if (part === "models") showModel(name);
  if (part === "compare") readCompare(query);
  if (part === "patches") readPatches(query);
  if (target && !SECTIONS.includes(name)) {
    target.tabIndex = -1;
    target.focus({ preventScroll: true });
    target.scrollIntoView();
  } else scrollTo(0, 0);
}
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  $("content").focus();
});
addEventListener("hashchange", show);
show();
document.documentElement.dataset.ready = "1";
