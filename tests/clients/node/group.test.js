// A device of an enrollment group lives with one leaf, then rolls to the next (J5), all through
// clients as published.
import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import https from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";

import device from "azure-iot-device";
import { Mqtt } from "azure-iot-device-mqtt";
import provisioning from "azure-iot-provisioning-device";
import { Mqtt as ProvisioningMqtt } from "azure-iot-provisioning-device-mqtt";
import provisioningService from "azure-iot-provisioning-service";
import { X509Security } from "azure-iot-security-x509";
import iothub from "azure-iothub";

import { Pki } from "./pki.js";

assert.ok(process.env.LINARITE_READY, "start these tests with `node run.js`");
const ready = JSON.parse(process.env.LINARITE_READY);
const LIMIT = { timeout: 90_000 };
const STEP_MS = 20_000;
const directory = mkdtempSync(join(tmpdir(), "linarite-clients-"));
after(() => rmSync(directory, { recursive: true, force: true }));

const pki = new Pki(directory);
const root = pki.root("node-root");
const intermediate = pki.intermediate("node-ca", root);
const dps = provisioningService.ProvisioningServiceClient.fromConnectionString(
  ready.dps.connection_string,
);
const registry = iothub.Registry.fromConnectionString(ready.hubs[0].connection_string);
const methods = iothub.Client.fromConnectionString(ready.hubs[0].connection_string);

before(async () => {
  await trustRoot();
  const saved = await dps.createOrUpdateEnrollmentGroup({
    enrollmentGroupId: "node-fleet",
    attestation: {
      type: "x509",
      x509: { signingCertificates: { primary: { certificate: intermediate.cert } } },
    },
  });
  assert.equal((saved.responseBody ?? saved).enrollmentGroupId, "node-fleet");
});

test("a device lives with one leaf", LIMIT, async (t) => {
  const id = "node-lives";
  const leaf = leafOf(id);
  const state = await register(id, leaf);
  assert.deepEqual([state.deviceId, state.status], [id, "assigned"]);

  const client = await connect(t, id, leaf, state.assignedHub);
  await send(client, JSON.stringify({ temperature: 21.5 }));

  const twin = await within("reading the twin", client.getTwin());
  const reported = promised((done) => twin.properties.reported.update({ firmware: "1.0" }, done));
  await within("reporting a property", reported);
  const seen = (await within("the hub's answer", registry.getTwin(id))).responseBody;
  assert.equal(seen.properties.reported.firmware, "1.0");

  // A change that comes before the subscription is not delivered, so there may have to be more.
  const arrived = new Set();
  twin.on("properties.desired", (patch) => arrived.add(patch.interval));
  let interval = 0;
  await retried(async () => {
    interval += 1;
    const patch = { properties: { desired: { interval } } };
    await within("desiring a property", registry.updateTwin(id, patch, "*"));
    await delay(200);
    assert.ok(arrived.has(interval), `the device was not told that interval is ${interval}`);
  });

  client.onDeviceMethod("reboot", (request, response) => {
    response.send(207, { got: request.payload });
  });
  // No call reaches a device before its subscription has been made.
  const result = await retried(() =>
    within(
      "calling a method",
      methods.invokeDeviceMethod(id, {
        methodName: "reboot",
        payload: { delay: 3 },
        responseTimeoutInSeconds: 10,
      }),
    ),
  );
  assert.deepEqual(result.result ?? result.responseBody, {
    status: 207,
    payload: { got: { delay: 3 } },
  });
});

test("a roll to the second leaf", LIMIT, async (t) => {
  const id = "node-rolls";
  const [old, fresh] = [leafOf(id), leafOf(id)];
  const first = await register(id, old);
  const session = await connect(t, id, old, first.assignedHub);
  await send(session, "with the first leaf");

  // R-G10: the group knows the issuer, the hub does not know the leaf.
  await assert.rejects(connect(t, id, fresh, first.assignedHub), unauthorized);
  await send(session, "still here");

  const second = await register(id, fresh);
  assert.deepEqual([second.deviceId, second.assignedHub], [first.deviceId, first.assignedHub]);
  await session.close();

  const after = await connect(t, id, fresh, second.assignedHub);
  await send(after, "with the second leaf");
  // R-B21: the first leaf is worth nothing at the hub, though it has not expired.
  await assert.rejects(connect(t, id, old, first.assignedHub), unauthorized);
  await send(after, "unimpressed");
});

/** Uploads the root and proves that its key is ours. */
async function trustRoot() {
  const path =
    "/subscriptions/any/resourceGroups/any/providers/Microsoft.Devices" +
    `/provisioningServices/${ready.dps.name}/certificates/node-root`;
  const uploaded = await manage("PUT", path, undefined, {
    properties: { certificate: Buffer.from(root.cert).toString("base64") },
  });
  const challenge = await manage("POST", `${path}/generateVerificationCode`, uploaded.etag);
  const answer = pki.leaf(challenge.properties.verificationCode, root);
  const verified = await manage("POST", `${path}/verify`, challenge.etag, {
    certificate: answer.cert,
  });
  assert.equal(verified.properties.isVerified, true);
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

/** A fresh leaf with the intermediate behind it, as a device presents it. */
function leafOf(id) {
  const leaf = pki.leaf(id, intermediate);
  return { cert: leaf.cert + intermediate.cert, key: leaf.key };
}

async function register(id, leaf) {
  const client = provisioning.ProvisioningDeviceClient.create(
    ready.dps.host,
    ready.dps.id_scope,
    new ProvisioningMqtt(),
    new X509Security(id, leaf),
  );
  return within(`registering ${id}`, client.register());
}

/** A connected client, closed when the test ends. */
async function connect(t, id, leaf, hub) {
  const connectionString = `HostName=${hub};DeviceId=${id};x509=true`;
  const client = device.Client.fromConnectionString(connectionString, Mqtt);
  t.after(() => client.close().catch(() => {}));
  client.on("error", () => {});
  await client.setOptions(leaf);
  await within(`connecting ${id}`, client.open());
  return client;
}

function unauthorized(error) {
  assert.equal(error.name, "UnauthorizedError", String(error));
  return true;
}

function send(client, text) {
  return within("sending telemetry", client.sendEvent(new device.Message(text)));
}

/** Names the step that does not end. */
function within(what, promise) {
  const overdue = delay(STEP_MS, undefined, { ref: false }).then(() => {
    throw new Error(`${what}: not done after ${STEP_MS / 1000} s`);
  });
  return Promise.race([promise, overdue]);
}

function promised(start) {
  return new Promise((resolve, reject) => {
    start((error, result) => (error ? reject(error) : resolve(result)));
  });
}

/** Tries again for a while: the client does not tell when it has subscribed. */
async function retried(attempt) {
  for (let left = 30; ; left -= 1) {
    try {
      return await attempt();
    } catch (error) {
      if (left === 0) throw error;
      await delay(200);
    }
  }
}
