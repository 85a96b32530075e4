// Filters, sorts and plays the cards of a preview. Cards may come later (serve.js).
"use strict";
const $ = (id) => document.getElementById(id);
const list = $("cards");
const cards = () => [...list.querySelectorAll("article.card")];
const shown = () => cards().filter((card) => !card.hidden);
const classesOf = (card) => JSON.parse(card.dataset.classes);

// --- which cards, in which order ---

function fits(card, words) {
  return words.every((word) => card.dataset.text.includes(word))
    && (!$("class").value || classesOf(card).includes($("class").value))
    && (!$("split").value || card.dataset.split === $("split").value);
}

function filter() {
  const words = $("filter").value.toLowerCase().split(/\s+/).filter(Boolean);
  for (const card of cards()) {
    card.hidden = !fits(card, words);
    if (card.hidden) card.querySelector("audio")?.pause();
  }
  const [some, all] = [shown().length, cards().length];
  $("count").value = some === all ? `${all} scene${all === 1 ? "" : "s"}` : `${some} of ${all} scenes`;
  $("none").hidden = some > 0 || all === 0;
}

function sort() {
  const down = $("sort").value.startsWith("-");
  const key = $("sort").value.replace("-", "");
  const value = (card) => (card.dataset[key] === undefined ? Infinity : (down ? -1 : 1) * card.dataset[key]);
  const order = cards().sort((a, b) => {
    const [x, y] = [value(a), value(b)];
    return x === y ? a.dataset.index - b.dataset.index : x - y;
  });
  list.append(...order);
}

function offer(select, names) {
  const before = select.value;
  select.replaceChildren(select.options[0], ...names.map((name) => new Option(name, name)));
  select.value = names.includes(before) ? before : "";
}

function arrange() {
  offer($("class"), [...new Set(cards().flatMap(classesOf))].sort());
  const splits = [...new Set(cards().map((card) => card.dataset.split))];
  offer($("split"), splits);
  $("splits").hidden = splits.length < 2;
  sort();
  filter();
}

// --- sound: made from the page's text when a card comes near ---

const places = new Map();  // a track's text to where its sound lies
const near = new IntersectionObserver((entries) => {
  for (const entry of entries) if (entry.isIntersecting) ready(entry.target);
}, { rootMargin: "600px" });

function soundOf(script) {
  if (!places.has(script)) {
    const bytes = Uint8Array.from(atob(script.textContent.trim()), (c) => c.charCodeAt(0));
    places.set(script, URL.createObjectURL(new Blob([bytes], { type: script.dataset.mime })));
  }
  return places.get(script);
}

function ready(card) {
  const audio = card.querySelector("audio");
  if (audio && !audio.src) audio.src = soundOf(card.querySelector(".sound"));
  near.unobserve(card);
  return audio;
}

function change(card, key) {
  const audio = ready(card);
  const [at, playing] = [audio.currentTime, !audio.paused];
  audio.src = soundOf(card.querySelector(`.sound[data-key="${key}"]`));
  audio.addEventListener("loadedmetadata", () => {
    audio.currentTime = at;
    if (playing) audio.play().catch(() => {});
  }, { once: true });
}

function follow(card) {
  const audio = card.querySelector("audio");
  const view = card.querySelector(".timeline");
  const [from, to] = [Number(view.dataset.from), Number(view.dataset.to)];
  const head = view.querySelector(".head");
  const draw = () => {
    const share = Math.min(audio.currentTime / card.dataset.duration, 1);
    head.style.left = `${100 * (from + (to - from) * share)}%`;
    head.hidden = audio.currentTime === 0 && audio.paused;
    if (!audio.paused) requestAnimationFrame(draw);
  };
  audio.addEventListener("play", () => {
    for (const other of list.querySelectorAll("audio")) if (other !== audio) other.pause();
    draw();
  });
  for (const what of ["seeked", "pause", "ended"]) audio.addEventListener(what, draw);
  view.addEventListener("click", (event) => {
    const box = view.getBoundingClientRect();
    const share = ((event.clientX - box.left) / box.width - from) / (to - from);
    if (share < 0 || share > 1) return;
    const seek = () => {
      audio.currentTime = share * card.dataset.duration;
      audio.play().catch(() => {});
    };
    if (ready(card).readyState > 0) seek();
    else audio.addEventListener("loadedmetadata", seek, { once: true });
  });
}

function enliven(card) {
  near.observe(card);
  if (card.querySelector("audio")) follow(card);
  card.querySelector(".track")?.addEventListener("change", (event) => change(card, event.target.value));
  for (const button of card.querySelectorAll(".copy")) {
    button.addEventListener("click", () => copy(button));
  }
}

async function copy(button) {
  const code = button.parentElement.querySelector("code");
  try {
    await navigator.clipboard.writeText(code.textContent);
  } catch {
    getSelection().selectAllChildren(code);
    document.execCommand("copy");
  }
  button.textContent = "Copied";
  setTimeout(() => { button.textContent = "Copy"; }, 1500);
}

// --- keys ---

let current = null;

function here() {
  const inView = (card) => {
    const box = card.getBoundingClientRect();
    return box.bottom > 120 && box.top < innerHeight - 120;
  };
  if (current && current.isConnected && !current.hidden && inView(current)) return current;
  return shown().find(inView) ?? shown()[0];
}

function go(card) {
  current?.classList.remove("current");
  current = card;
  card.classList.add("current");
  card.focus({ preventScroll: true });
  card.scrollIntoView({ block: "start" });
}

function step(by) {
  const visible = shown();
  if (!visible.length) return;
  const at = visible.indexOf(current);
  if (at < 0) go(here());
  else if (visible[at + by]) go(visible[at + by]);
}

function toggle() {
  const card = here();
  const audio = card && card.querySelector("audio") && ready(card);
  if (!audio) return;
  if (audio.paused) audio.play().catch(() => {});
  else audio.pause();
}

const keys = {
  j: () => step(1),
  k: () => step(-1),
  ArrowRight: () => step(1),
  ArrowLeft: () => step(-1),
  " ": toggle,
  "/": () => $("filter").focus(),
  "?": () => $("help").showModal(),
};

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || $("help").open) return;
  if (event.key === "Escape" && event.target === $("filter")) $("filter").blur();
  const own = event.target.closest("input, select, textarea, audio, .scroll, pre");
  const pressed = event.key === " " && event.target.closest("button, summary, a");
  if (own || pressed || !(event.key in keys)) return;
  event.preventDefault();
  keys[event.key]();
});

$("filter").addEventListener("input", filter);
$("class").addEventListener("change", filter);
$("split").addEventListener("change", filter);
$("sort").addEventListener("change", sort);
$("keys").addEventListener("click", () => $("help").showModal());
document.querySelector(".bar").addEventListener("submit", (event) => event.preventDefault());

cards().forEach(enliven);
arrange();
