// The side panel with the settings of the open conversation (per lane when two are compared), or those of completion.

import { byId } from "../shell/dom.js";
import { CHAT_SETTINGS } from "./settings.js";
import { settingsForm } from "./settings_panel.js";

export class SettingsSide {
  #chat;
  #lane = 0;
  #tabs = [byId("lane-a"), byId("lane-b")];

  constructor(chat) {
    this.#chat = chat;
    this.#tabs.forEach((tab, lane) => tab.addEventListener("click", () => this.#select(lane)));
    byId("lanes").addEventListener("keydown", ({ key }) => {
      if (key !== "ArrowLeft" && key !== "ArrowRight") return;
      this.#select(1 - this.#lane);
      this.#tabs[this.#lane].focus();
    });
    byId("reset-settings").addEventListener("click", () => {
      chat.conversation.settings[this.#lane] = {};
      chat.settingsChanged();
      this.draw();
    });
    byId("system").addEventListener("input", ({ target }) => {
      chat.conversation.system = target.value;
      chat.settingsChanged();
    });
    chat.addEventListener("open", () => this.draw());
  }

  draw() {
    const { conversation } = this.#chat;
    byId("lanes").hidden = !conversation.comparing;
    if (!conversation.comparing) this.#lane = 0;
    this.#tabs.forEach((tab, lane) => {
      tab.setAttribute("aria-selected", String(lane === this.#lane));
      tab.tabIndex = lane === this.#lane ? 0 : -1;
    });
    byId("settings").setAttribute("aria-labelledby", this.#tabs[this.#lane].id);
    byId("system").value = conversation.system;
    const form = settingsForm(CHAT_SETTINGS, conversation.settings[this.#lane], () => this.#chat.settingsChanged());
    byId("settings").replaceChildren(form);
  }

  #select(lane) {
    this.#lane = lane;
    this.draw();
  }
}
