// Draws a form for every route of /openapi.json and shows what the service answers. Text only ever goes in as text.

const EXAMPLES = {
  user_id: "1",
  recommend_for_ratings: { ratings: [{ item_id: "1", rating: 5 }, { item_id: "2", rating: 3 }], n: 5, explain: true },
  pin: { version: "v1.0.0" },
  version: "v1.0.0",
  recommend_batch: { user_ids: ["1", "2"], n: 3 },
  add_ratings: { ratings: [{ user_id: "ann", item_id: "1", rating: 5 }] },
  record_events: { events: [{ recommendation_id: "of an answer", type: "click", item_id: "1" }] },
  put_item: { title: "A New Film", year: 2026, genres: ["Drama"] },
  patch_item: { year: 2026 },
  import_ratings: "Date,Name,Year,Letterboxd URI,Rating\n2024-03-01,Toy Story,1995,boxd.it/2aqe,4.5\n",
};

function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

/** An example body as text: JSON, or a file as it is. */
function example(operation) {
  const found = EXAMPLES[operation.operationId] ?? {};
  return typeof found === "string" ? found : JSON.stringify(found, null, 2);
}

function field(parameter) {
  const { name, description = "", schema = {} } = parameter;
  const input = element("input", { name, value: parameter.in === "path" ? (EXAMPLES[name] ?? "1") : "" });
  input.placeholder = schema.default !== undefined ? String(schema.default) : (schema.type ?? "");
  input.dataset.where = parameter.in;
  input.dataset.list = schema.type === "array" ? "yes" : "";
  const hint = schema.type === "array" ? `${description}; several with commas` : description;
  return element("label", {}, element("span", { textContent: name }), input, element("small", { textContent: hint }));
}

function address(path, inputs) {
  let filled = path;
  const query = new URLSearchParams();
  for (const input of inputs) {
    const value = input.value.trim();
    if (input.dataset.where === "path") {
      filled = filled.replace(`{${input.name}}`, encodeURIComponent(value));
    } else if (value && input.dataset.list) {
      for (const part of value.split(",")) query.append(input.name, part.trim());
    } else if (value) {
      query.set(input.name, value);
    }
  }
  return query.size ? `${filled}?${query}` : filled;
}

function route(path, method, operation) {
  const fields = (operation.parameters ?? []).map(field);
  const inputs = fields.map((label) => label.querySelector("input"));
  const body = operation.requestBody
    ? element("textarea", { value: example(operation), ariaLabel: "body" })
    : null;
  const mediaType = Object.keys(operation.requestBody?.content ?? {})[0];
  const isJson = mediaType === "application/json";
  const answer = element("pre", { hidden: true, tabIndex: 0 });
  answer.setAttribute("role", "status");

  const ask = async (event) => {
    event.preventDefault();
    const target = address(path, inputs);
    const token = operation.security ? document.getElementById("token").value.trim() : "";
    const parts = ["curl -s"];
    if (method !== "GET") parts.push(`-X ${method}`);
    if (operation.security) parts.push('-H "Authorization: Bearer $TOKEN"');
    if (body && !isJson) parts.push("--data-binary @export.csv");
    if (body && isJson) parts.push(`--json '${body.value.replace(/\s+/g, " ").replaceAll("'", "'\\''")}'`);
    const command = [...parts, `'${location.origin}${target}'`].join(" ");
    answer.hidden = false;
    answer.textContent = "…";
    try {
      const started = performance.now();
      const headers = body ? { "Content-Type": mediaType } : {};
      if (token) headers.Authorization = `Bearer ${token}`;
      const response = await fetch(target, body ? { method, headers, body: body.value } : { method, headers });
      if ((response.headers.get("Content-Type") ?? "").startsWith("text/event-stream")) {
        answer.textContent = `${command}\n\n`;
        const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
        for (let part = await reader.read(); !part.done; part = await reader.read()) answer.textContent += part.value;
        return;
      }
      const text = await response.text();
      const took = Math.round(performance.now() - started);
      const answersJson = (response.headers.get("Content-Type") ?? "").includes("json");
      const shown = answersJson ? JSON.stringify(JSON.parse(text), null, 2) : text;
      answer.textContent = `${command}\n\n${response.status} ${response.statusText} · ${took} ms\n\n${shown}`;
    } catch (error) {
      answer.textContent = `${command}\n\nNo answer: ${error.message}`;
    }
  };
  const form = element("form", { onsubmit: ask }, ...fields, ...(body ? [body] : []), element("button", { textContent: "Ask" }));
  const summary = element("summary", {}, element("b", { textContent: method }), element("code", { textContent: ` ${path} ` }),
    element("span", { className: "quiet", textContent: operation.summary ?? "" }));
  return element("details", {}, summary, element("div", {}, form, answer));
}

async function draw() {
  const about = document.getElementById("about");
  try {
    const document_ = await (await fetch("/openapi.json")).json();
    about.textContent = document_.info.description.replaceAll("`", "");
    const byTag = new Map();
    for (const [path, methods] of Object.entries(document_.paths)) {
      for (const [method, operation] of Object.entries(methods)) {
        const tag = operation.tags?.[0] ?? "other";
        if (!byTag.has(tag)) byTag.set(tag, []);
        byTag.get(tag).push(route(path, method.toUpperCase(), operation));
      }
    }
    for (const [tag, routes] of byTag) {
      document.getElementById("routes").append(element("h2", { textContent: tag }), ...routes);
    }
  } catch (error) {
    about.textContent = `The document cannot be read: ${error.message}`;
  }
}

document.getElementById("sign-in").addEventListener("submit", (event) => event.preventDefault());
draw();
