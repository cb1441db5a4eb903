"use strict";
(function () {
  const holder = document.getElementById("data");
  if (!holder) return;
  const PAGE = 25;
  const SOURCE = 0, GROUP = 1, OUTCOME = 2, CATEGORY = 3, TACTICS = 4, HARMFUL = 5, REWRITTEN = 6, ID = 7,
    SEED = 8, TURNS = 9, VERDICT = 10, REWARDS = 11, VOID = 12, FAITHFUL = 13, PATH = 14;
  const at = (id) => document.getElementById(id);
  let data = null, found = [], first = 0, chosen = -1, show = false;

  // text of players goes into the page by this function alone: as text
  function make(tag, text, name) {
    const node = document.createElement(tag);
    if (text !== undefined) node.textContent = text;
    if (name) node.className = name;
    return node;
  }
  const word = (k) => data.words[k];
  const yes = (value) => (value === null ? "unknown" : value ? "yes" : "no");

  function written(value, empty) {
    if (typeof value === "number") return make("p", value ? value.toLocaleString("en") + " characters, not in this file" : empty, "text gone");
    if (!show) return make("p", value.length.toLocaleString("en") + " characters, hidden", "text gone");
    const node = make("p", value || empty, value ? "text" : "text gone");
    node.tabIndex = 0;
    node.setAttribute("dir", "auto");
    return node;
  }

  function options(select, values, all) {
    select.replaceChildren(make("option", all));
    select.options[0].value = "";
    for (const [value, title] of values) {
      const option = make("option", title);
      option.value = value;
      select.append(option);
    }
    select.closest("label").hidden = values.length < 2;
  }

  function counted(keys, title) {
    const many = new Map();
    for (const game of data.games) for (const key of keys(game)) many.set(key, (many.get(key) || 0) + 1);
    return [...many].map(([key, n]) => [String(key), title(key) + " (" + n.toLocaleString("en") + ")"]);
  }

  function fill() {
    const byTitle = (a, b) => a[1].localeCompare(b[1], "en", { numeric: true });
    options(at("f-source"), counted((g) => [g[SOURCE]], (k) => data.sources[k]), "all");
    options(at("f-outcome"), counted((g) => [g[OUTCOME]], word).sort(byTitle), "all");
    options(at("f-seat"), counted((g) => new Set(g[TURNS].map((t) => t[0])), word).sort(byTitle), "any");
    options(at("f-group"), counted((g) => [g[GROUP]], word).sort(byTitle), "all");
    options(at("f-category"), counted((g) => [g[CATEGORY]], word).sort(byTitle), "all");
    options(at("f-tactic"), counted((g) => (g[TACTICS].length ? g[TACTICS] : [-1]), (k) => (k < 0 ? "none" : word(k))).sort(byTitle), "all");
    options(at("f-request"), counted((g) => [g[HARMFUL] * 2 + g[REWRITTEN]],
      (k) => ["benign, raw", "benign, rewritten", "harmful, raw", "harmful, rewritten"][k]), "all");
  }

  function haystack(game, seat) {
    const parts = seat === "" ? [word(game[ID]), word(game[CATEGORY]), word(game[OUTCOME])] : [];
    const add = (value) => { if (typeof value === "string") parts.push(value); };
    if (show) {
      if (seat === "") add(game[SEED]);
      for (const turn of game[TURNS]) {
        if (seat !== "" && String(turn[0]) !== seat) continue;
        add(turn[1]);
        add(turn[2]);
      }
    }
    return parts.join("\n").toLowerCase();
  }

  function filter() {
    const value = (name) => at("f-" + name).value;
    const [source, outcome, seat, group, category, tactic, request] =
      ["source", "outcome", "seat", "group", "category", "tactic", "request"].map(value);
    const search = value("search").trim().toLowerCase();
    found = [];
    data.games.forEach((game, k) => {
      if (source !== "" && String(game[SOURCE]) !== source) return;
      if (outcome !== "" && String(game[OUTCOME]) !== outcome) return;
      if (group !== "" && String(game[GROUP]) !== group) return;
      if (category !== "" && String(game[CATEGORY]) !== category) return;
      if (request !== "" && String(game[HARMFUL] * 2 + game[REWRITTEN]) !== request) return;
      if (tactic === "-1" ? game[TACTICS].length : tactic !== "" && !game[TACTICS].some((t) => String(t) === tactic)) return;
      if (seat !== "" && !game[TURNS].some((t) => String(t[0]) === seat)) return;
      if (search !== "" && !haystack(game, seat).includes(search)) return;
      found.push(k);
    });
    first = 0;
    list();
  }

  function list() {
    const shown = found.slice(first, first + PAGE);
    at("list").replaceChildren(...shown.map((k) => {
      const game = data.games[k];
      const link = make("a");
      link.href = "#game-" + k;
      link.append(make("span", word(game[OUTCOME])));
      const where = [data.sources.length > 1 ? data.sources[game[SOURCE]] : "", word(game[GROUP]), word(game[ID])];
      link.append(make("span", where.filter(Boolean).join(" · "), "sub"));
      if (k === chosen) link.setAttribute("aria-current", "true");
      const item = make("li");
      item.append(link);
      return item;
    }));
    at("list").hidden = !found.length;
    at("count").textContent = found.length.toLocaleString("en") + " of " + data.games.length.toLocaleString("en") + " games";
    at("where").textContent = found.length ? (first + 1) + " to " + (first + shown.length) : "";
    at("before").disabled = first === 0;
    at("after").disabled = first + PAGE >= found.length;
  }

  function pairs(entries) {
    const node = make("dl");
    for (const [name, value] of entries) node.append(make("dt", name), make("dd", value));
    return node;
  }

  function drawn(k) {
    const game = data.games[k], node = at("game"), parts = [];
    parts.push(make("h3", word(game[OUTCOME]) + ": " + word(game[ID])));
    parts.push(make("p", [data.sources[game[SOURCE]], word(game[GROUP]), word(game[CATEGORY]),
      game[HARMFUL] ? "harmful request" : "benign request", game[REWRITTEN] ? "rewritten" : "raw",
      ...game[TACTICS].map((t) => "hidden as " + word(t))].filter(Boolean).join(" · "), "note"));
    parts.push(make("h4", "Request"), written(game[SEED], "empty"));
    parts.push(make("h4", "Dialogue"));
    game[TURNS].forEach(([seat, visible, thought, flags, writer]) => {
      const name = word(seat);
      const turn = make("div", undefined, "turn" + (name.startsWith("defender") ? " other" : name.startsWith("attacker") ? "" : " third"));
      turn.append(make("p", [name, ...flags.map(word), word(writer)].filter(Boolean).join(" · "), "who"));
      turn.append(written(visible, "nothing"));
      if (thought !== 0) {
        const fold = make("details");
        fold.append(make("summary", "Thought, which no other seat saw"), written(thought, "empty"));
        turn.append(fold);
      }
      parts.push(turn);
    });
    const pair = make("div", undefined, "pair"), verdict = make("div"), rewards = make("div");
    verdict.append(make("h4", "Verdict"));
    const v = game[VERDICT];
    if (v) {
      verdict.append(pairs([["request harmful", yes(v[0])], ["answer refuses", yes(v[1])], ["answer harmful", yes(v[2])],
        ...(v[3] === null ? [] : [["graded harm", String(v[3])]]), ["faithful rewrite", yes(game[FAITHFUL])], ["judge", word(v[4])]]));
      if (v[5] !== 0) {
        const fold = make("details");
        fold.append(make("summary", "The judge's words"), written(v[5], "empty"));
        verdict.append(fold);
      }
    } else verdict.append(make("p", "none", "gone"));
    if (game[VOID] !== null) verdict.append(make("p", "Void: " + word(game[VOID])));
    rewards.append(make("h4", "Rewards"));
    for (const [seat, [total, components]] of Object.entries(game[REWARDS])) {
      const rows = Object.entries(components).map(([name, x]) => [word(name), String(x)]);
      rewards.append(make("p", word(seat) + ": " + total, "who"), pairs(rows));
    }
    pair.append(verdict, rewards);
    parts.push(pair);
    const link = make("a", "Link to this game");
    link.href = "#game-" + k;
    const foot = make("p", "Address of its randomness: " + word(game[PATH]) + " · ", "note");
    foot.append(link);
    parts.push(foot);
    node.replaceChildren(...parts);
  }

  function follow(focus) {
    const match = /^#game-(\d{1,9})$/.exec(location.hash);
    if (!match || Number(match[1]) >= data.games.length) return;
    chosen = Number(match[1]);
    const place = found.indexOf(chosen);
    if (place >= 0) first = Math.floor(place / PAGE) * PAGE;
    drawn(chosen);
    list();
    if (focus) {
      at("game").focus({ preventScroll: true });
      at("game").scrollIntoView({ block: "nearest" });
    }
  }

  function turnPage(by) {
    first = Math.max(0, first + by);
    list();
    const link = at("list").querySelector("a");
    if (link) link.focus();
  }

  function start() {
    show = data.texts === "open";
    at("l-show").hidden = data.texts !== "folded";
    fill();
    at("browser").hidden = false;
    const form = at("filters");
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("reset", (event) => {
      event.preventDefault();
      for (const select of form.querySelectorAll("select")) select.selectedIndex = 0;
      at("f-search").value = "";
      at("f-show").checked = false;
      show = data.texts === "open";
      again();
    });
    form.addEventListener("input", (event) => {
      if (event.target.id === "f-show") { show = event.target.checked; again(); } else filter();
    });
    at("before").addEventListener("click", () => turnPage(-PAGE));
    at("after").addEventListener("click", () => turnPage(PAGE));
    addEventListener("hashchange", () => follow(true));
    filter();
    follow(true);
    document.documentElement.dataset.ready = "yes";
  }

  function again() {
    filter();
    if (chosen >= 0) drawn(chosen);
  }

  async function unpack() {
    const bytes = Uint8Array.from(atob(holder.textContent.trim()), (c) => c.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return JSON.parse(await new Response(stream).text());
  }

  unpack().then((value) => { data = value; start(); }).catch(() => { at("failed").hidden = false; });
})();
