'use strict';
// Sorting, filters, search and arrow keys for the page. Nothing is fetched, stored or sent.
(() => {
  const $ = (id) => document.getElementById(id);
  const tools = $('tools');
  if (!tools) return;
  const groups = [...document.querySelectorAll('details.group')].map((group) => {
    const table = group.querySelector('table.items');
    const items = [...table.tBodies].map((body, place) => ({
      body,
      place,
      id: body.querySelector('th').textContent,
      level: body.dataset.level,
      keys: body.dataset.keys.split('|').map((key) => (key === '' ? NaN : Number(key))),
    }));
    return { group, table, items, total: group.querySelector('.total'), none: group.querySelector('.none'), all: group.querySelector('.total').textContent };
  });

  // Unknown values come last in either direction; equal rows keep their order.
  const compare = (key, direction) => (a, b) => {
    if (key === 'id') return direction * (a.id < b.id ? -1 : a.id > b.id ? 1 : 0) || a.place - b.place;
    const [x, y] = [a.keys[key], b.keys[key]];
    if (Number.isNaN(x) || Number.isNaN(y)) return Number.isNaN(x) - Number.isNaN(y) || a.place - b.place;
    return direction * (x < y ? -1 : x > y ? 1 : 0) || a.place - b.place;
  };
  const sort = ({ table, items }, header, direction) => {
    const { key, sign } = header.dataset;
    for (const other of table.tHead.rows[0].cells) other.removeAttribute('aria-sort');
    header.setAttribute('aria-sort', direction > 0 ? 'ascending' : 'descending');
    const sorted = [...items].sort(compare(key, direction * Number(sign || 1)));
    table.append(...sorted.map((item) => item.body));
  };
  for (const entry of groups) {
    for (const header of entry.table.tHead.rows[0].cells) {
      const button = document.createElement('button');
      button.type = 'button';
      button.append(...header.childNodes);
      button.addEventListener('click', () => {
        const now = header.getAttribute('aria-sort');
        const first = Number(header.dataset.first);
        sort(entry, header, now === null ? first : now === 'ascending' ? -1 : 1);
      });
      header.append(button);
    }
    entry.table.tHead.rows[0].cells[0].setAttribute('aria-sort', 'ascending');
  }
  $('by-column').addEventListener('change', (event) => {
    for (const entry of groups) {
      const header = [...entry.table.tHead.rows[0].cells].find((cell) => cell.dataset.key === event.target.value);
      sort(entry, header, Number(header.dataset.first));
    }
  });

  const filter = () => {
    const wanted = $('find').value.trim().toLowerCase();
    const [level, kind] = [$('by-level').value, $('by-kind').value];
    const any = wanted !== '' || level !== '' || kind !== '';
    let [shown, all] = [0, 0];
    for (const { group, items, total, none, all: label } of groups) {
      let here = 0;
      for (const { body, id, level: own } of items) {
        const fits = (level === '' || own === level) && id.toLowerCase().includes(wanted);
        body.hidden = !fits;
        here += fits;
      }
      group.hidden = kind !== '' && group.dataset.kind !== kind;
      none.hidden = here > 0 || items.length === 0;
      total.textContent = any ? `${here} of ${label}` : label;
      if (any && here > 0 && !group.hidden) group.open = true;
      all += items.length;
      if (!group.hidden) shown += here;
    }
    $('count').textContent = any ? `${shown} of ${all} shown` : `${all} shown`;
  };
  for (const id of ['find', 'by-level', 'by-kind']) $(id).addEventListener('input', filter);
  filter();

  const unfold = $('unfold');
  unfold.addEventListener('click', () => {
    const open = unfold.getAttribute('aria-pressed') !== 'true';
    unfold.setAttribute('aria-pressed', String(open));
    unfold.textContent = open ? 'Fold all' : 'Unfold all';
    for (const { group, items } of groups) {
      if (open && !group.hidden) group.open = true;
      for (const { body } of items) {
        const details = body.querySelector('details');
        details.open = open && !body.hidden;
      }
    }
  });

  // One tab stop per map; arrow keys move between cells.
  document.addEventListener('keydown', (event) => {
    const cell = event.target.closest?.('.cells > li');
    if (!cell || event.ctrlKey || event.altKey || event.metaKey) return;
    const cells = [...cell.parentElement.children];
    const at = cells.indexOf(cell);
    const row = () => {
      const next = cells.findIndex((other) => other.offsetTop > cells[0].offsetTop);
      return next < 0 ? cells.length : next;
    };
    const to = {
      ArrowRight: () => at + 1,
      ArrowLeft: () => at - 1,
      ArrowDown: () => at + row(),
      ArrowUp: () => at - row(),
      Home: () => 0,
      End: () => cells.length - 1,
    }[event.key]?.();
    const next = cells[to];
    if (to === undefined) return;
    event.preventDefault();
    if (!next) return;
    cell.tabIndex = -1;
    next.tabIndex = 0;
    next.focus();
  });

  // Unfolds items for printing in browsers that can't do so by style alone.
  if (!CSS.supports('selector(::details-content)')) {
    let opened = [];
    addEventListener('beforeprint', () => {
      opened = [...document.querySelectorAll('details:not([open], .group)')];
      for (const details of opened) details.open = true;
    });
    addEventListener('afterprint', () => {
      for (const details of opened) details.open = false;
    });
  }
  tools.hidden = false;
})();
