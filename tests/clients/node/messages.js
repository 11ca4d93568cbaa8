// The back end's side of cloud-to-device messages, over the hub's HTTP API: the published service
// client sends over AMQP, which the emulator does not speak yet.
import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { once } from "node:events";
import https from "node:https";

import iothub from "azure-iothub";

import { ready } from "./lab.js";

const { connection_string: hub } = ready.hubs[0];
const parts = Object.fromEntries(
  hub.split(";").map((part) => [part.slice(0, part.indexOf("=")), part.slice(part.indexOf("=") + 1)]),
);
// Behind the port, if one is named.
const host = parts.HostName.split(":")[0];
const port = Number(ready.https.split(":").at(-1));

export const registry = iothub.Registry.fromConnectionString(hub);

/** A device with a key; gives its connection string. */
export async function create(id) {
  const made = await registry.create({ deviceId: id, status: "enabled" });
  const device = made.responseBody ?? made;
  const { primaryKey } = device.authentication.symmetricKey;
  return `HostName=${ready.hubs[0].host};DeviceId=${id};SharedAccessKey=${primaryKey}`;
}

/** How many messages wait for a device. */
export async function waiting(id) {
  const got = await registry.get(id);
  return (got.responseBody ?? got).cloudToDeviceMessageCount;
}

/** Sends a message to a device. */
export async function send(id, body, headers = {}) {
  const path = `/devices/${id}/messages/devicebound`;
  assert.equal((await ask("POST", path, body, headers)).status, 204);
}

/** The next batch of feedback, which is completed by that; empty if there is none. */
export async function feedback() {
  const path = "/messages/serviceBound/feedback";
  const { status, headers, text } = await ask("GET", path);
  if (status === 204) return [];
  await ask("DELETE", `${path}/${headers.etag.replaceAll('"', "")}`);
  return JSON.parse(text);
}

async function ask(method, path, body, headers) {
  const request = https.request({
    host,
    port,
    method,
    path: `${path}?api-version=2021-04-12`,
    headers: { ...headers, Authorization: token() },
  });
  request.end(body);
  const [response] = await once(request, "response");
  let text = "";
  for await (const part of response.setEncoding("utf8")) text += part;
  assert.ok(response.statusCode < 300, `${method} ${path}: ${response.statusCode} ${text}`);
  return { status: response.statusCode, headers: response.headers, text };
}

function token() {
  const resource = encodeURIComponent(host);
  const expiry = Math.floor(Date.now() / 1000) + 600;
  const key = Buffer.from(parts.SharedAccessKey, "base64");
  const signature = createHmac("sha256", key).update(`${resource}\n${expiry}`).digest("base64");
  return (
    `SharedAccessSignature sr=${resource}&sig=${encodeURIComponent(signature)}` +
    `&se=${expiry}&skn=${parts.SharedAccessKeyName}`
  );
}
