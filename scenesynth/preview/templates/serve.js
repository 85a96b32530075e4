// Fetches cards of the dataset, a page of them at a time.
let turn = 0;
let span = { before: false, after: false, first: 0, next: 0 };

async function get(path) {
  const answer = await fetch(path);
  if (!answer.ok) throw new Error(await answer.text());
  return answer;
}

function clear() {
  for (const card of cards()) {
    card.querySelector("audio")?.pause();
    for (const script of card.querySelectorAll(".sound")) {
      URL.revokeObjectURL(places.get(script));
      places.delete(script);
    }
  }
  list.replaceChildren();
  arrange();
}

async function show(path) {
  const mine = ++turn;
  try {
    span = await (await get(path)).json();
    clear();
    $("previous").disabled = !span.before;
    $("next").disabled = !span.after;
    $("goto").value = span.first;
    $("about").textContent = span.about;
    for (const [n, index] of span.scenes.entries()) {
      $("loading").value = `${n} of ${span.scenes.length} are here`;
      const card = document.createElement("template");
      card.innerHTML = await (await get(`/card/${index}`)).text();
      if (mine !== turn) return;
      for (const element of card.content.querySelectorAll("article.card")) enliven(element);
      list.append(card.content);
      arrange();
    }
    $("loading").value = "";
  } catch (error) {
    if (mine === turn) $("loading").value = `Cannot be shown: ${error.message}`;
  }
}

$("previous").addEventListener("click", () => show(`/scenes?before=${span.first}`));
$("next").addEventListener("click", () => show(`/scenes?from=${span.next}`));
$("chosen")?.addEventListener("click", () => show("/chosen"));
$("pager").addEventListener("submit", (event) => {
  event.preventDefault();
  show(`/scenes?from=${Number($("goto").value) || 0}`);
});
show($("chosen") ? "/chosen" : "/scenes?from=0");
