// Says times in the reader's zone, reads charts out, and keeps the overview current. The server renders the parts; what is here only
// exchanges what differs, so that focus, selection and opened details stay. Without script the page is whole, as of when it was
// loaded, and its times are UTC.
"use strict";
(() => {
  // Times
  const forms = {
    clock: { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" },
    hour: { hour: "2-digit", minute: "2-digit", hourCycle: "h23" },
    day: { month: "2-digit", day: "2-digit" },
    moment: { year: "numeric", month: "2-digit", day: "2-digit", hour: "2-digit", minute: "2-digit", hourCycle: "h23" },
  };
  const say = (at, shown) => {
    const parts = new Intl.DateTimeFormat("en-GB", forms[shown] || forms.moment).formatToParts(at);
    const part = (type) => parts.find((of) => of.type === type)?.value;
    const day = ["year", "month", "day"].map(part).filter(Boolean).join("-");
    const clock = ["hour", "minute", "second"].map(part).filter(Boolean).join(":");
    return [day, clock].filter(Boolean).join(" ");
  };
  const localise = (within) => {
    for (const time of within.querySelectorAll("time[data-shown]")) {
      const at = new Date(time.dateTime);
      if (!isNaN(at)) time.textContent = say(at, time.dataset.shown);
    }
  };
  localise(document);
  const zone = document.getElementById("zone");
  const here = Intl.DateTimeFormat().resolvedOptions().timeZone;
  if (zone && here !== "UTC") zone.textContent = `times are ${here}; UTC stands under the pointer`;

  // Charts: the bar under the pointer, or the one that the arrow keys reach, is read out below.
  const read = (chart, bar) => {
    const line = document.getElementById(`${chart.dataset.chart}-reading`);
    for (const other of chart.querySelectorAll(".hit.chosen")) other.classList.remove("chosen");
    if (!line) return;
    if (!bar) return void (line.textContent = "");
    bar.classList.add("chosen");
    const at = bar.dataset.at.length > 10 ? say(new Date(bar.dataset.at), chart.dataset.chart === "plot-rates" ? "clock" : "moment") : bar.dataset.at;
    line.textContent = `${at}: ${bar.textContent}`;
  };
  const chartOf = (event) => event.target.closest?.("svg[data-chart]");
  document.addEventListener("pointerover", (event) => {
    const chart = chartOf(event);
    if (chart) read(chart, event.target.closest(".hit"));
  });
  document.addEventListener("pointerout", (event) => {
    const chart = chartOf(event);
    if (chart && !chart.contains(event.relatedTarget)) read(chart);
  });
  document.addEventListener("focusout", (event) => chartOf(event) && read(chartOf(event)));
  document.addEventListener("keydown", (event) => {
    const chart = chartOf(event);
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!chart || !step) return;
    const bars = [...chart.querySelectorAll(".hit")];
    const at = bars.findIndex((bar) => bar.classList.contains("chosen"));
    const next = at < 0 ? bars.length - 1 : Math.min(Math.max(at + step, 0), bars.length - 1);
    read(chart, bars[next]);
    event.preventDefault();
  });

  // Only what differs is exchanged
  const exchange = (old, fresh) => {
    if (old.nodeName !== fresh.nodeName || old.id !== fresh.id) return old.replaceWith(fresh);
    if (old.nodeType === Node.TEXT_NODE) {
      if (old.data !== fresh.data) old.data = fresh.data;
      return;
    }
    if ("keep" in (old.dataset || {})) return;
    const chosen = old.classList.contains("chosen");
    for (const { name } of [...old.attributes]) {
      if (name !== "open" && !fresh.hasAttribute(name)) old.removeAttribute(name);
    }
    for (const { name, value } of fresh.attributes) {
      if (old.getAttribute(name) !== value) old.setAttribute(name, value);
    }
    if (chosen) old.classList.add("chosen");
    exchangeChildren(old, fresh);
  };

  // Children with an id keep their node; a new one at the top moves nothing.
  const exchangeChildren = (old, fresh) => {
    const kept = new Map([...old.children].filter((child) => child.id).map((child) => [child.id, child]));
    let at = old.firstChild;
    for (const child of [...fresh.childNodes]) {
      const same = child.id && kept.get(child.id);
      if (same) {
        if (same === at) at = at.nextSibling;
        else old.insertBefore(same, at);
        exchange(same, child);
      } else if (at && !at.id && !child.id) {
        const next = at.nextSibling;
        exchange(at, child);
        at = next;
      } else {
        old.insertBefore(child, at);
      }
    }
    while (at) {
      const next = at.nextSibling;
      at.remove();
      at = next;
    }
  };

  // A part that is watched is asked for again, until it says no more that it is.
  const watch = async () => {
    const part = document.querySelector("[data-watch]");
    if (!part) return;
    const answer = document.hidden ? undefined : await fetch(location.href).catch(() => undefined);
    const fresh = answer?.ok && new DOMParser().parseFromString(await answer.text(), "text/html").getElementById(part.id);
    if (fresh) {
      localise(fresh);
      exchange(part, document.adoptNode(fresh));
    }
    setTimeout(watch, 1000);
  };
  setTimeout(watch, 1000);

  // The live overview
  const overview = document.querySelector("[data-live]");
  const state = document.getElementById("feed-state");
  const pause = document.getElementById("feed-pause");
  if (!overview || !state || !pause || !window.EventSource) return;

  let source, timer, paused = false;

  const tell = (text, kind) => {
    if (state.textContent !== text) state.textContent = text;
    state.className = kind;
  };

  // What is pointed at or has the focus holds still; what came meanwhile is shown afterwards.
  const held = new Map();
  const isHeld = (part) => part.id === "events" && part.matches(":hover, :focus-within");
  const show = (part, html) => {
    const fresh = document.createElement("template");
    fresh.innerHTML = html;
    localise(fresh.content);
    exchangeChildren(part, fresh.content);
    if (part.id !== "numbers") return;
    const waiting = Number(document.getElementById("title")?.dataset.waiting || 0);
    document.title = `${waiting ? `${waiting.toLocaleString("en")} waiting · ` : ""}Overview · Lyceum`;
  };
  const release = () => {
    for (const [part, html] of held) {
      if (isHeld(part)) continue;
      held.delete(part);
      show(part, html);
    }
    if (!held.size && state.textContent === "holding still") tell("live", "up");
  };
  for (const name of ["pointerout", "focusout"]) document.addEventListener(name, () => held.size && setTimeout(release));

  const close = () => {
    clearTimeout(timer);
    if (source) source.close();
    source = undefined;
  };

  const connect = () => {
    close();
    source = new EventSource(overview.dataset.live);
    source.addEventListener("change", (event) => {
      for (const [id, html] of Object.entries(JSON.parse(event.data).parts)) {
        const part = document.getElementById(id);
        if (!part) continue;
        if (isHeld(part)) held.set(part, html);
        else {
          held.delete(part);
          show(part, html);
        }
      }
      tell(held.size ? "holding still" : "live", "up");
    });
    source.addEventListener("error", () => {
      tell("reconnecting", "retry_later");
      // A browser tries again by itself, unless the answer was an error.
      if (source && source.readyState === EventSource.CLOSED) timer = setTimeout(connect, 3000);
    });
  };

  const follow = () => (paused || document.hidden ? close() : connect());

  pause.hidden = false;
  pause.addEventListener("click", () => {
    paused = !paused;
    pause.textContent = paused ? "Resume" : "Pause";
    if (paused) tell("paused", "");
    follow();
  });
  document.addEventListener("visibilitychange", follow);
  follow();
})();
