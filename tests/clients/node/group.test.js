// A device of an enrollment group lives with one leaf, then rolls to the next (J5), all through
// clients as published.
import assert from "node:assert/strict";
import { before, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";

import device from "azure-iot-device";
import { Mqtt } from "azure-iot-device-mqtt";
import { X509Security } from "azure-iot-security-x509";
import iothub from "azure-iothub";

import { LIMIT, dps, pki, ready, register, trust, within } from "./lab.js";

const root = pki.root("node-root");
const intermediate = pki.intermediate("node-ca", root);
const registry = iothub.Registry.fromConnectionString(ready.hubs[0].connection_string);
const methods = iothub.Client.fromConnectionString(ready.hubs[0].connection_string);

before(async () => {
  await trust("node-root", root);
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
  const state = await register(id, new X509Security(id, leaf));
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
  const first = await register(id, new X509Security(id, old));
  const session = await connect(t, id, old, first.assignedHub);
  await send(session, "with the first leaf");

  // R-G10: the group knows the issuer, the hub does not know the leaf.
  await assert.rejects(connect(t, id, fresh, first.assignedHub), unauthorized);
  await send(session, "still here");

  const second = await register(id, new X509Security(id, fresh));
  assert.deepEqual([second.deviceId, second.assignedHub], [first.deviceId, first.assignedHub]);
  await session.close();

  const after = await connect(t, id, fresh, second.assignedHub);
  await send(after, "with the second leaf");
  // R-B21: the first leaf is worth nothing at the hub, though it has not expired.
  await assert.rejects(connect(t, id, old, first.assignedHub), unauthorized);
  await send(after, "unimpressed");
});

/** A fresh leaf with the intermediate behind it, as a device presents it. */
function leafOf(id) {
  const leaf = pki.leaf(id, intermediate);
  return { cert: leaf.cert + intermediate.cert, key: leaf.key };
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
