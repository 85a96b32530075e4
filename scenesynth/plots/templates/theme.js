// A button with the id "theme" goes from the system's colours to light, to dark, and back.
"use strict";
{
  const button = document.getElementById("theme");
  const names = ["system", "light", "dark"];
  const show = (name) => {
    if (name === "system") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = name;
    if (button) button.textContent = `Colours: ${name}`;
  };
  const stored = () => {
    try { return localStorage.getItem("scenesynth-theme"); } catch { return null; }
  };
  let current = names.includes(stored()) ? stored() : "system";
  show(current);
  button?.addEventListener("click", () => {
    current = names[(names.indexOf(current) + 1) % names.length];
    try { localStorage.setItem("scenesynth-theme", current); } catch { /* a page from disk may not */ }
    show(current);
  });
}
