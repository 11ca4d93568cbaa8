// The identity registry as a back end uses it, and a module that lives by its key, all through
// clients as published (R-G1 to R-G3, R-G20 to R-G24, R-F10).
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";

import device from "azure-iot-device";
import { Mqtt } from "azure-iot-device-mqtt";
import iothub from "azure-iothub";

assert.ok(process.env.LINARITE_READY, "start these tests with `node run.js`");
const { connection_string: hub, host } = JSON.parse(process.env.LINARITE_READY).hubs[0];
const LIMIT = { timeout: 60_000 };
const STEP_MS = 20_000;

const registry = iothub.Registry.fromConnectionString(hub);
const methods = iothub.Client.fromConnectionString(hub);

test("devices are created, changed and deleted", LIMIT, async () => {
  const id = "node-registry";
  const symmetricKey = { primaryKey: key(), secondaryKey: key() };
  const made = await answer(
    registry.create({ deviceId: id, status: "enabled", authentication: { type: "sas", symmetricKey } }),
  );
  assert.deepEqual(made.authentication.symmetricKey, symmetricKey);
  assert.equal(made.connectionState, "Disconnected");
  assert.match(made.lastActivityTime, /^0001-01-01T00:00:00/);
  await assert.rejects(registry.create({ deviceId: id }), named("DeviceAlreadyExistsError"));

  const changed = await answer(
    registry.update({ ...made, status: "disabled", statusReason: "lost" }),
  );
  assert.deepEqual([changed.status, changed.statusReason], ["disabled", "lost"]);
  assert.notEqual(changed.etag, made.etag);
  assert.equal(changed.generationId, made.generationId);
  assert.deepEqual(await answer(registry.get(id)), changed);
  const listed = await answer(registry.list());
  assert.ok(listed.some((one) => one.deviceId === id));

  await answer(registry.delete(id));
  await assert.rejects(registry.get(id), named("DeviceNotFoundError"));
  await assert.rejects(registry.delete(id), named("DeviceNotFoundError"));
});

test("devices are written in bulk and counted", LIMIT, async () => {
  const ids = Array.from({ length: 100 }, (_, number) => `node-bulk-${number}`);
  const devices = ids.map((deviceId) => ({ deviceId }));
  const before = await answer(registry.getRegistryStatistics());
  const made = await answer(registry.addDevices(devices));
  assert.deepEqual(made, { isSuccessful: true, errors: [], warnings: [] });
  const after = await answer(registry.getRegistryStatistics());
  assert.equal(after.totalDeviceCount, before.totalDeviceCount + 100);
  // Some of a list that fail make the call fail, and the client tells so.
  await assert.rejects(registry.addDevices(devices.slice(0, 2)), named("ArgumentError"));
  const off = devices.map((one) => ({ ...one, status: "disabled" }));
  assert.equal((await answer(registry.updateDevices(off, true))).isSuccessful, true);
  const disabled = await answer(registry.getRegistryStatistics());
  assert.equal(disabled.disabledDeviceCount, before.disabledDeviceCount + 100);
  const first = await answer(registry.get(ids[0]));
  assert.equal(first.status, "disabled");
  const stale = [{ deviceId: ids[0], etag: "another" }];
  await assert.rejects(registry.removeDevices(stale, false), named("ArgumentError"));
  assert.equal((await answer(registry.removeDevices(devices, true))).isSuccessful, true);
  const empty = await answer(registry.getRegistryStatistics());
  assert.equal(empty.totalDeviceCount, before.totalDeviceCount);
});

test("modules and their twins are written and read", LIMIT, async () => {
  const deviceId = "node-modules";
  await answer(registry.create({ deviceId }));
  const made = await answer(registry.addModule({ deviceId, moduleId: "mod", managedBy: "me" }));
  assert.deepEqual([made.deviceId, made.moduleId, made.managedBy], [deviceId, "mod", "me"]);
  const listed = await answer(registry.getModulesOnDevice(deviceId));
  assert.deepEqual(listed.map((one) => one.moduleId), ["mod"]);
  const changed = await answer(registry.updateModule({ ...made, managedBy: "you" }));
  assert.equal(changed.managedBy, "you");
  assert.equal((await answer(registry.getModule(deviceId, "mod"))).etag, changed.etag);

  const patch = { tags: { site: "plant" }, properties: { desired: { speed: 3 } } };
  const twin = await answer(registry.updateModuleTwin(deviceId, "mod", patch, "*"));
  assert.deepEqual([twin.tags, twin.properties.desired.speed], [{ site: "plant" }, 3]);
  const read = await answer(registry.getModuleTwin(deviceId, "mod"));
  assert.equal(read.etag, twin.etag);
  const stale = registry.updateModuleTwin(deviceId, "mod", patch, "another");
  await assert.rejects(stale, named("InvalidEtagError"));
  assert.equal((await answer(registry.getTwin(deviceId))).tags.site, undefined);

  await answer(registry.removeModule(deviceId, "mod"));
  assert.deepEqual(await answer(registry.getModulesOnDevice(deviceId)), []);
  await answer(registry.delete(deviceId));
});

test("a module lives by its key", LIMIT, async (t) => {
  const deviceId = "node-module";
  await answer(registry.create({ deviceId }));
  const made = await answer(registry.addModule({ deviceId, moduleId: "mod", managedBy: "me" }));
  const { primaryKey } = made.authentication.symmetricKey;
  const client = device.ModuleClient.fromConnectionString(
    `HostName=${host};DeviceId=${deviceId};ModuleId=mod;SharedAccessKey=${primaryKey}`,
    Mqtt,
  );
  t.after(() => client.close().catch(() => {}));
  client.on("error", () => {});
  await within("connecting", client.open());
  assert.equal((await answer(registry.getModule(deviceId, "mod"))).connectionState, "Connected");
  await within("telemetry", client.sendEvent(new device.Message("hello")));
  await within("output", client.sendOutputEvent("out", new device.Message("hello")));
  const twin = await within("reading the twin", client.getTwin());
  const reported = new Promise((resolve, reject) => {
    twin.properties.reported.update({ fan: 2 }, (error) => (error ? reject(error) : resolve()));
  });
  await within("reporting", reported);
  const seen = await answer(registry.getModuleTwin(deviceId, "mod"));
  assert.equal(seen.properties.reported.fan, 2);

  client.onMethod("reboot", (request, response) => response.send(207, { got: request.payload }));
  const call = { methodName: "reboot", payload: { delay: 3 }, responseTimeoutInSeconds: 10 };
  const result = await retried(() => methods.invokeDeviceMethod(deviceId, "mod", call));
  const expected = { status: 207, payload: { got: { delay: 3 } } };
  assert.deepEqual(result.result ?? result.responseBody, expected);
  await answer(registry.delete(deviceId));
});

function key() {
  return randomBytes(32).toString("base64");
}

/** What the service answered. */
async function answer(call) {
  const { responseBody } = await within("the service's answer", call);
  return responseBody;
}

function named(name) {
  return (error) => {
    assert.equal(error.name, name, String(error));
    return true;
  };
}

/** Names the step that does not end. */
function within(what, promise) {
  const overdue = delay(STEP_MS, undefined, { ref: false }).then(() => {
    throw new Error(`${what}: not done after ${STEP_MS / 1000} s`);
  });
  return Promise.race([promise, overdue]);
}

/** Tries again for a while: the client does not tell when it has subscribed. */
async function retried(attempt) {
  for (let left = 30; ; left -= 1) {
    try {
      return await within("calling", attempt());
    } catch (error) {
      if (left === 0) throw error;
      await delay(200);
    }
  }
}
