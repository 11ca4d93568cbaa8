// What every test here needs: the emulator that `run.js` has started, certificates, an operator,
// and devices that register.
import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import https from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after } from "node:test";
import { setTimeout as delay } from "node:timers/promises";

import provisioning from "azure-iot-provisioning-device";
import { Mqtt as ProvisioningMqtt } from "azure-iot-provisioning-device-mqtt";
import provisioningService from "azure-iot-provisioning-service";

import { Pki } from "./pki.js";

const STEP_MS = 20_000;

assert.ok(process.env.LINARITE_READY, "start these tests with `node run.js`");
export const ready = JSON.parse(process.env.LINARITE_READY);
export const LIMIT = { timeout: 90_000 };

const directory = mkdtempSync(join(tmpdir(), "linarite-clients-"));
after(() => rmSync(directory, { recursive: true, force: true }));

export const pki = new Pki(directory);
export const dps = provisioningService.ProvisioningServiceClient.fromConnectionString(
  ready.dps.connection_string,
);

/** Registers over MQTT with what `security` shows. */
export function register(id, security) {
  const client = provisioning.ProvisioningDeviceClient.create(
    ready.dps.host,
    ready.dps.id_scope,
    new ProvisioningMqtt(),
    security,
  );
  return within(`registering ${id}`, client.register());
}

/** Uploads a root. */
export function upload(name, root) {
  return manage("PUT", certificatePath(name), undefined, {
    properties: { certificate: Buffer.from(root.cert).toString("base64") },
  });
}

/** Uploads a root and proves that its key is ours. */
export async function trust(name, root) {
  const path = certificatePath(name);
  const uploaded = await upload(name, root);
  const challenge = await manage("POST", `${path}/generateVerificationCode`, uploaded.etag);
  const answer = pki.leaf(challenge.properties.verificationCode, root);
  const verified = await manage("POST", `${path}/verify`, challenge.etag, {
    certificate: answer.cert,
  });
  assert.equal(verified.properties.isVerified, true);
}

function certificatePath(name) {
  return (
    "/subscriptions/any/resourceGroups/any/providers/Microsoft.Devices" +
    `/provisioningServices/${ready.dps.name}/certificates/${name}`
  );
}

/** One call of the management API, which no npm client of an older Node reaches. */
async function manage(method, path, etag, body) {
  const port = Number(ready.https.split(":").at(-1));
  const request = https.request({
    host: ready.dps.host,
    port,
    method,
    path: `${path}?api-version=2022-02-05`,
    headers: {
      Authorization: "Bearer x",
      "Content-Type": "application/json",
      ...(etag === undefined ? {} : { "If-Match": etag }),
    },
  });
  request.end(body === undefined ? undefined : JSON.stringify(body));
  const [response] = await once(request, "response");
  let text = "";
  for await (const part of response.setEncoding("utf8")) text += part;
  assert.equal(response.statusCode, 200, `${method} ${path}: ${text}`);
  return JSON.parse(text);
}

/** Names the step that does not end. */
export function within(what, promise) {
  const overdue = delay(STEP_MS, undefined, { ref: false }).then(() => {
    throw new Error(`${what}: not done after ${STEP_MS / 1000} s`);
  });
  return Promise.race([promise, overdue]);
}
