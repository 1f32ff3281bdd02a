// Puts the document together: chat and completion, the panels beside them, and what the server says of itself.

import { byId } from "../shell/dom.js";
import { ServerHealth } from "../shell/health.js";
import { icon } from "../shell/icons.js";
import { fetchWithKey } from "../shell/key.js";
import { Chat } from "./chat.js";
import { Completion } from "./completion.js";
import { preference } from "./preferences.js";
import { SettingsSide } from "./settings_side.js";
import { Store } from "./store.js";

const ICONS = { send: "send", stop: "stop", "toggle-list": "menu", compare: "columns", tokens: "tokens", "toggle-settings": "sliders" };
const TOLD_MS = 6_000;
const NARROW = matchMedia("(max-width: 60rem)");

function tell(message) {
  byId("told").textContent = message;
  byId("told").hidden = false;
  clearTimeout(tell.timer);
  tell.timer = setTimeout(() => (byId("told").hidden = true), TOLD_MS);
}

/** A button that shows and hides `panel`; Esc hides it where it covers the rest. */
function togglePanel(button, panel, shown, onChange = () => {}) {
  const show = (visible) => {
    panel.hidden = !visible;
    button.setAttribute("aria-expanded", String(visible));
  };
  show(shown);
  button.addEventListener("click", () => {
    show(panel.hidden);
    onChange(!panel.hidden);
  });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || panel.hidden || !NARROW.matches) return;
    event.preventDefault();
    show(false);
    button.focus();
  });
  return show;
}

function toggleButton(button, pressed, onChange) {
  const set = (value) => button.setAttribute("aria-pressed", String(value));
  set(pressed);
  button.addEventListener("click", () => {
    const value = button.getAttribute("aria-pressed") !== "true";
    set(value);
    onChange(value);
  });
  return set;
}

function showView() {
  const completion = location.hash === "#completion";
  byId("chat").hidden = completion;
  byId("completion").hidden = !completion;
  const [current, other] = completion ? ["to-completion", "to-chat"] : ["to-chat", "to-completion"];
  byId(current).setAttribute("aria-current", "page");
  byId(other).removeAttribute("aria-current");
  document.title = `${completion ? "Completion" : "Chat"} · Millrace`;
}

async function showModel() {
  const response = await fetchWithKey("v1/models");
  if (!response.ok) return;
  const [model] = (await response.json()).data;
  const length = model.max_model_len ? ` · up to ${model.max_model_len.toLocaleString("en")} tokens` : "";
  byId("model").textContent = model.id + length;
}

function joinChat(chat) {
  const side = new SettingsSide(chat);
  const setComparing = toggleButton(byId("compare"), false, (comparing) => {
    chat.comparing = comparing;
    side.draw();
    if (comparing) showSettings(true);
  });
  chat.addEventListener("open", () => setComparing(chat.conversation.comparing));
  chat.addEventListener("told", ({ detail }) => tell(detail));
  toggleButton(byId("tokens"), preference("tokens"), (shown) => {
    preference("tokens", shown);
    chat.showsTokens = shown;
  });
  chat.showsTokens = preference("tokens");
  const roomy = !NARROW.matches;
  const showSettings = togglePanel(byId("toggle-settings"), byId("settings-side"), roomy && preference("panel"), (shown) =>
    preference("panel", shown),
  );
  const showList = togglePanel(byId("toggle-list"), byId("list-side"), roomy);
  chat.addEventListener("open", () => NARROW.matches && showList(false));
  for (const example of document.querySelectorAll("#welcome .example")) {
    example.addEventListener("click", () => chat.send(example.textContent));
  }
}

async function start() {
  const health = new ServerHealth();
  health.show();
  health.check();
  for (const [id, name] of Object.entries(ICONS)) byId(id).prepend(icon(name));
  addEventListener("hashchange", showView);
  showView();
  health.addEventListener("change", () => health.state === "ready" && showModel().catch(() => {}));
  new Completion(health);
  const chat = new Chat(await Store.open(), health);
  joinChat(chat);
  await chat.start();
  chat.composer.focus();
}

start().catch((error) => {
  tell(`The page cannot start: ${error.message}`);
  throw error;
});
