// What only a browser knows: that a page was looked at, which cards came into sight, which one was clicked.
// Everything else works without this file.
"use strict";
(() => {
  const { consent, events: address, token } = document.body.dataset;
  const key = () => `${Date.now().toString(36)}-${Math.random().toString(36).slice(2)}`;

  function report(events) {
    if (events.length === 0) return;
    fetch(address, {
      method: "POST",
      keepalive: true, // outlives the page, so a click that leads away is still reported
      headers: { "Content-Type": "application/json", "X-CSRFToken": token },
      body: JSON.stringify({ events }),
    }).catch(() => {}); // a lost report is no shopper's concern
  }

  // A page that a browser prepares in advance has not been looked at.
  const whenSeen = (act) =>
    document.prerendering ? document.addEventListener("prerenderingchange", act, { once: true }) : act();

  const viewed = document.getElementById("main").dataset.view;
  if (viewed && consent !== "no") {
    whenSeen(() => report([{ kind: "view", product_id: viewed, key: key() }]));
  }

  function stamped(kind, card) {
    const { slate, model, arm } = card.closest("[data-slate]").dataset;
    return {
      kind,
      product_id: card.dataset.product,
      key: key(),
      slate_id: slate,
      model_version: model,
      arm,
      position: Number(card.dataset.position) || undefined,
    };
  }

  // Impressions: once for each card of which half was in sight, sent together.
  let waiting = [];
  const flush = () => report(waiting.splice(0, 50));
  const sight = new IntersectionObserver(
    (entries) => {
      for (const { isIntersecting, target } of entries) {
        if (!isIntersecting) continue;
        sight.unobserve(target);
        if (waiting.length === 0) setTimeout(flush, 1000);
        waiting.push(stamped("impression", target));
      }
    },
    { threshold: 0.5 },
  );
  const watch = () => {
    if (consent !== "yes") return;
    for (const card of document.querySelectorAll("[data-slate] .card[data-position]:not([data-watched])")) {
      card.dataset.watched = "";
      sight.observe(card);
    }
  };
  whenSeen(watch);
  document.addEventListener("htmx:afterSettle", watch);
  document.addEventListener("visibilitychange", () => document.hidden && flush());

  document.addEventListener("click", (event) => {
    const card = event.target.closest(".card[data-position] .card-link")?.closest(".card");
    if (card && consent === "yes") report([stamped("click", card)]);
  });

  // Nothing moves from under the hand, on a mouse or on the keys, of somebody who is in the panel: it waits till they leave.
  document.addEventListener("htmx:beforeSwap", ({ detail }) => {
    const { target: panel, serverResponse: newer } = detail;
    const busy = () => panel.matches(":focus-within") || (matchMedia("(hover: hover)").matches && panel.matches(":hover"));
    if (!detail.requestConfig.elt.matches(".poll") || !panel.matches(".panel") || !busy()) return;
    detail.shouldSwap = false;
    const left = () =>
      setTimeout(() => {
        if (!panel.isConnected || busy()) return;
        for (const sign of ["pointerleave", "focusout"]) panel.removeEventListener(sign, left);
        htmx.swap(panel, newer, { swapStyle: "outerHTML" });
      });
    for (const sign of ["pointerleave", "focusout"]) panel.addEventListener(sign, left);
  });

  // Whoever asks for others hears that they came; that the panel became personal by itself interrupts nobody.
  document.addEventListener("htmx:afterSettle", ({ detail: { requestConfig } }) => {
    if (requestConfig?.elt.id !== "others") return;
    const count = document.querySelectorAll("#panel-for_you .card").length;
    const further = requestConfig.path.includes("others=");
    document.getElementById("said").textContent = further ? `${count} other recommendations shown` : `The first ${count} recommendations again`;
  });

  // Rows turn by buttons too; at an end, the button there says so and keeps the focus.
  function turns(row) {
    const [back, on] = row.closest(".panel").querySelectorAll("[data-turn]");
    const left = row.scrollWidth - row.clientWidth - row.scrollLeft;
    back.setAttribute("aria-disabled", row.scrollLeft < 2);
    on.setAttribute("aria-disabled", left < 2);
    back.hidden = on.hidden = row.scrollWidth - row.clientWidth < 2;
  }
  const measure = () => document.querySelectorAll(".row").forEach(turns);
  measure();
  window.addEventListener("resize", measure);
  document.addEventListener("htmx:afterSettle", measure);
  document.addEventListener("scroll", ({ target }) => target.matches?.(".row") && turns(target), true);
  document.addEventListener("click", ({ target }) => {
    const button = target.closest("[data-turn]");
    if (!button) return;
    const row = document.getElementById(button.getAttribute("aria-controls"));
    row.scrollBy({ left: Number(button.dataset.turn) * row.clientWidth * 0.9 });
  });

  document.addEventListener("in-cart", ({ detail: { product_id: id, quantity } }) => {
    for (const button of document.querySelectorAll("button.add")) {
      if (button.value !== id || !quantity) continue;
      button.textContent = `In cart: ${quantity}`;
      button.classList.add("held");
    }
  });

  // The drawer opens when the cart is put into it; the browser keeps the focus inside, and gives it back on closing.
  const drawer = document.getElementById("drawer");
  const status = document.getElementById("status");
  document.addEventListener("htmx:oobAfterSwap", ({ detail }) => {
    if (detail.target !== drawer || drawer.open) return;
    drawer.showModal();
    drawer.append(status); // outside of it, nobody would hear or see what is said
  });
  drawer.addEventListener("close", () => document.body.append(status));

  // What could not be done is said, and can be tried again; a poll that fails is no shopper's concern.
  const problems = { 403: "This page was open for too long.", 404: "That is no longer here.", 429: "That was a lot at once." };
  function failed({ type, detail: { elt, xhr } }) {
    if (elt.matches(".poll")) return;
    const offline = !xhr || xhr.status === 0;
    const said = document.createElement("p");
    said.className = "stays";
    said.textContent = type === "htmx:timeout" ? "That takes too long." : offline ? "There is no connection. Nothing is lost." : (problems[xhr.status] ?? "That did not work on our side.");
    const again = document.createElement("button");
    const reload = !elt.isConnected || [403, 404].includes(xhr?.status);
    again.textContent = reload ? "Reload the page" : "Try again";
    again.addEventListener("click", () => {
      said.remove();
      if (reload) location.reload();
      else if (elt.matches("a, button")) elt.click();
      else htmx.trigger(elt, elt.matches("form") ? "submit" : "change");
    });
    said.append(again);
    status.replaceChildren(said);
  }
  for (const sign of ["htmx:sendError", "htmx:timeout", "htmx:responseError"]) document.addEventListener(sign, failed);

  document.addEventListener("change", (event) => {
    if (event.target.matches("[data-submit]")) event.target.form.requestSubmit();
  });

  // The search box is a combobox: the focus stays in it, arrows walk the suggestions, Enter follows one.
  const box = document.getElementById("q");
  const list = document.getElementById("suggestions");
  const options = () => [...list.children];
  box.setAttribute("role", "combobox");
  box.setAttribute("aria-autocomplete", "list");
  box.setAttribute("aria-controls", list.id);
  let at = -1;
  function choose(index) {
    at = index;
    options().forEach((option, place) => option.setAttribute("aria-selected", place === at));
    if (at < 0) return box.removeAttribute("aria-activedescendant");
    box.setAttribute("aria-activedescendant", options()[at].id);
    options()[at].scrollIntoView({ block: "nearest" });
  }
  function unfold(open) {
    list.hidden = !open;
    box.setAttribute("aria-expanded", open);
    document.getElementById("suggested").textContent = open ? `${options().length} suggestions` : "";
    choose(-1);
  }
  unfold(false);
  const offer = () => unfold(options().length > 0 && document.activeElement === box && box.value.trim() !== "");
  list.addEventListener("htmx:afterSwap", offer);
  box.addEventListener("focus", offer);
  box.form.addEventListener("focusout", ({ relatedTarget }) => box.form.contains(relatedTarget) || unfold(false));
  list.addEventListener("mousedown", (event) => event.preventDefault()); // a click must not take the focus first
  box.addEventListener("keydown", (event) => {
    const count = list.hidden ? 0 : options().length;
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step && count) choose(((at + step + count + 2) % (count + 1)) - 1); // one place more: the box itself
    else if (event.key === "Escape" && count) unfold(false);
    else if (event.key === "Enter" && at >= 0) options()[at].click();
    else return;
    event.preventDefault();
  });

  // "Show more" is gone once it has been pressed: the keyboard goes on at the first of what it brought.
  document.addEventListener("htmx:beforeSwap", ({ detail: { target } }) => {
    if (target.id !== "more") return;
    const last = target.previousElementSibling;
    const go = () => last.nextElementSibling?.querySelector("a")?.focus({ preventScroll: true });
    document.addEventListener("htmx:afterSettle", go, { once: true });
  });

  // A second click on "place the order" is not a second order; the server sees to that too.
  document.addEventListener("submit", (event) => {
    if (!event.target.matches("[data-once]")) return;
    if (event.target.dataset.sent) event.preventDefault();
    event.target.dataset.sent = "yes";
  });
  window.addEventListener("pageshow", () => {
    for (const form of document.querySelectorAll("[data-sent]")) delete form.dataset.sent;
  });
})();
