// Assembles the page: chat and completion, the side panels, and the state of the server.

import { byId } from "../shell/dom.js";
import { ServerHealth } from "../shell/health.js";
import { icon } from "../shell/icons.js";
import { fetchWithKey } from "../shell/key.js";
import { Chat } from "./chat.js";
import { Completion } from "./completion.js";
import { Panel } from "./panels.js";
import { preference } from "./preferences.js";
import { SettingsSide } from "./settings_side.js";
import { Store } from "./store.js";

const ICONS = { send: "send", stop: "stop", "toggle-list": "menu", compare: "columns", tokens: "tokens", "toggle-settings": "sliders" };
const TOAST_MS = 6_000;

function notify(message) {
  byId("toast").textContent = message;
  clearTimeout(notify.timer);
  notify.timer = setTimeout(() => byId("toast").replaceChildren(), TOAST_MS);
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
    if (comparing) settings.shown = true;
  });
  chat.addEventListener("open", () => setComparing(chat.conversation.comparing));
  chat.addEventListener("message", ({ detail }) => notify(detail));
  toggleButton(byId("tokens"), preference("tokens"), (shown) => {
    preference("tokens", shown);
    chat.showsTokens = shown;
  });
  chat.showsTokens = preference("tokens");
  const settings = new Panel(byId("toggle-settings"), byId("settings-side"), preference("panel"), (shown) => preference("panel", shown));
  const list = new Panel(byId("toggle-list"), byId("list-side"), true);
  chat.addEventListener("open", () => list.makeRoom(byId("thread")));
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
  // Until now, clicks and keys would have been lost.
  byId("main").inert = false;
  chat.composer.focus();
}

start().catch((error) => {
  byId("toast").textContent = `The page cannot start: ${error.message}`;
  throw error;
});
