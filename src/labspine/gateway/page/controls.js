// Pause, Resume, Abort: when they can be pressed, why not, and what came of it.

const NAMES = ["pause", "resume", "abort"];
const ANSWER_SHOWN_MS = 8000;

/** The buttons; `send(action, scanId)` resolves to {ok, text}. */
export class Controls {
  constructor(send) {
    this.send = send;
    this.scan = null;
    this.askedFor = null;
    const find = (id) => document.getElementById(id);
    this.buttons = Object.fromEntries(NAMES.map((name) => [name, find(name)]));
    this.why = find("why");
    this.answer = find("answer");
    this.confirm = find("confirm");
    this.confirmText = find("confirm-text");
    this.buttons.pause.addEventListener("click", () => this.#order("pause", this.scan?.scan_id));
    this.buttons.resume.addEventListener("click", () => this.#order("resume", this.scan?.scan_id));
    this.buttons.abort.addEventListener("click", () => this.#ask());
    find("confirm-yes").addEventListener("click", () => this.#confirmed());
    find("confirm-no").addEventListener("click", () => this.#close(true));
    this.confirm.addEventListener("keydown", (event) => {
      if (event.key === "Escape") this.#close(true);
    });
  }

  /** Follow the state: a button that cannot work is off, and the sentence below says why. */
  show(link, state) {
    this.scan = state?.scan ?? null;
    const away = link === "connected" && state ? null : "The page is not connected to the gateway.";
    const reasons = NAMES.map((name) => away ?? state.why_not[name]);
    NAMES.forEach((name, i) => {
      this.buttons[name].disabled = reasons[i] !== null;
      this.buttons[name].title = reasons[i] ?? "";
    });
    const isRunning = this.scan?.status === "open" || this.scan?.status === "paused";
    const text = reasons.every((reason) => reason !== null) || !isRunning ? (reasons[0] ?? "") : this.#silent(reasons);
    if (this.why.textContent !== text) this.why.textContent = text;
    if (this.askedFor !== null && (away !== null || reasons[2] !== null || this.scan?.scan_id !== this.askedFor)) {
      this.#close(false);
    }
  }

  // With a running scan exactly one of pause and resume is off; only when both are there is something to explain.
  #silent(reasons) {
    return reasons[0] !== null && reasons[1] !== null ? reasons[0] : "";
  }

  #ask() {
    if (!this.scan) return;
    this.askedFor = this.scan.scan_id;
    const number = this.scan.number === null ? "the scan" : `scan ${this.scan.number}`;
    this.confirmText.textContent = `Abort ${number} after ${this.scan.points} points? It cannot be resumed.`;
    this.confirm.hidden = false;
    document.getElementById("confirm-no").focus();
  }

  #confirmed() {
    const scanId = this.askedFor;
    this.#close(true);
    if (scanId !== null) this.#order("abort", scanId);
  }

  #close(giveFocusBack) {
    this.askedFor = null;
    this.confirm.hidden = true;
    if (giveFocusBack) this.buttons.abort.focus();
  }

  async #order(action, scanId) {
    if (!scanId) return;
    this.#say("", "");
    const { ok, text } = await this.send(action, scanId);
    this.#say(ok ? "ok" : "bad", text);
  }

  #say(kind, text) {
    clearTimeout(this.timer);
    this.answer.dataset.kind = kind;
    this.answer.textContent = text;
    if (kind === "ok") this.timer = setTimeout(() => this.#say("", ""), ANSWER_SHOWN_MS);
  }
}
