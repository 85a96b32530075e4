// Which checks are shown; all findings open or closed; a link to a check opens its findings.
{
  const rows = [...document.querySelectorAll("tr[data-status]")];
  const filters = [...document.querySelectorAll("button[data-show]")];
  const show = (status) => {
    for (const row of rows) row.hidden = status !== "" && row.dataset.status !== status;
    for (const filter of filters) {
      filter.setAttribute("aria-pressed", String(filter.dataset.show === status));
    }
  };
  for (const filter of filters) filter.addEventListener("click", () => show(filter.dataset.show));
  const findings = [...document.querySelectorAll("details.findings")];
  const button = document.getElementById("open");
  button.hidden = findings.length === 0;
  button.addEventListener("click", () => {
    const open = findings.some((each) => !each.open);
    for (const each of findings) each.open = open;
    button.textContent = open ? "Close all findings" : "Open all findings";
  });
  const follow = () => {
    const row = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (!row?.matches("tr[data-status]")) return;
    show("");
    for (const each of row.querySelectorAll("details")) each.open = true;
    row.scrollIntoView();
  };
  addEventListener("hashchange", follow);
  follow();
}
