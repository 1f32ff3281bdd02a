// The chosen theme, or the system's. A classic script in the head, so that the first paint already has the right colours.
"use strict";

(() => {
  const NEXT = { system: "light", light: "dark", dark: "system" };
  const KEY = "millrace.theme";

  const chosen = () => {
    const theme = localStorage.getItem(KEY);
    return theme in NEXT ? theme : "system";
  };

  const show = (theme) => {
    if (theme === "system") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
    const button = document.getElementById("theme");
    if (!button) return;
    button.dataset.theme = theme;
    button.title = `Theme: ${theme}. Click for ${NEXT[theme]}.`;
    button.setAttribute("aria-label", button.title);
  };

  show(chosen());
  document.addEventListener("DOMContentLoaded", () => {
    show(chosen());
    document.getElementById("theme").addEventListener("click", () => {
      const theme = NEXT[chosen()];
      localStorage.setItem(KEY, theme);
      show(theme);
    });
  });
})();
