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
    const card = event.target.closest("[data-slate] .card-link")?.closest(".card");
    if (card && consent === "yes") report([stamped("click", card)]);
  });

  // Nothing moves from under the hand, on a mouse or on the keys, of somebody who is in the panel: it waits till they leave.
  document.addEventListener("htmx:beforeSwap", ({ detail }) => {
    const { target: panel, serverResponse: newer } = detail;
    const busy = () => panel.matches(":focus-within") || (matchMedia("(hover: hover)").matches && panel.matches(":hover"));
    if (detail.requestConfig.verb !== "get" || !panel.matches(".panel") || !busy()) return;
    detail.shouldSwap = false;
    const left = () =>
      setTimeout(() => {
        if (!panel.isConnected || busy()) return;
        for (const sign of ["pointerleave", "focusout"]) panel.removeEventListener(sign, left);
        htmx.swap(panel, newer, { swapStyle: "outerHTML" });
      });
    for (const sign of ["pointerleave", "focusout"]) panel.addEventListener(sign, left);
  });

  document.addEventListener("in-cart", ({ detail: { product_id: id, quantity } }) => {
    for (const button of document.querySelectorAll("button.add")) {
      if (button.value !== id || !quantity) continue;
      button.textContent = `In cart: ${quantity}`;
      button.classList.add("held");
    }
  });

  document.addEventListener("change", (event) => {
    if (event.target.matches("[data-submit]")) event.target.form.requestSubmit();
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
