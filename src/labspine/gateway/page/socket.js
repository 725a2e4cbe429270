// The connection to the gateway: updates in, orders out, and what to say after a break.

import { io } from "/static/vendor/socket.io-client/socket.io.esm.min.js";

const ANSWER_MS = 8000;
const ENDED_MS = 3000;

/** Talks to the gateway. `onUpdate(update)` and `onLink(state)` are called; state is connecting, connected,
 * reconnecting or ended. `position()` tells which points are here, so that only the missing ones are sent. */
export class GatewaySocket {
  constructor({ onUpdate, onLink, position }) {
    this.wasConnected = false;
    this.link = "connecting";
    this.setLink = (link) => {
      this.link = link;
      onLink(link);
    };
    this.socket = io({
      transports: ["websocket"],
      reconnectionDelay: 300,
      reconnectionDelayMax: 2000,
      timeout: 4000,
    });
    this.socket.on("connect", () => {
      this.wasConnected = true;
      this.socket.emit("resume", position());
      this.setLink("connected");
    });
    this.socket.on("update", (update, read) => {
      onUpdate(update);
      read();
    });
    this.socket.on("disconnect", (reason) => {
      this.setLink("reconnecting");
      // The gateway says goodbye when it stops or when the session ends; the library would stay away.
      if (reason === "io server disconnect") setTimeout(() => this.socket.connect(), 300);
    });
    this.socket.on("connect_error", () => this.#explain());
  }

  /** Ask the gateway to do something; resolves to {ok, text} and never rejects. */
  async command(action, scanId) {
    if (this.link !== "connected") return { ok: false, text: "The page is not connected to the gateway." };
    try {
      return await this.socket.timeout(ANSWER_MS).emitWithAck("command", { action, scan_id: scanId });
    } catch {
      return { ok: false, text: "The gateway did not answer. Whether the request was sent is unknown." };
    }
  }

  // A refused socket gives no reason; a small request tells a gateway that is away from a session that is over.
  async #explain() {
    try {
      const answer = await fetch("/session", { cache: "no-store" });
      if (answer.status === 401) {
        this.socket.disconnect();
        this.setLink("ended");
        // Another tab may be opened with the new key: then this one goes on, too.
        setTimeout(() => this.#explain(), ENDED_MS);
        return;
      }
      if (this.link === "ended") this.socket.connect();
    } catch {
      // The gateway is away: stay in the loop.
    }
    this.setLink(this.wasConnected ? "reconnecting" : "connecting");
  }
}
