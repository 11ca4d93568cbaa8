// Cloud-to-device messages and the device's HTTP API, as the published device clients use them
// (R-G27 to R-G31, R-G37, W12, W15, W20).
import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { once } from "node:events";
import net from "node:net";
import { test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";

import device from "azure-iot-device";
import { Http } from "azure-iot-device-http";
import { Mqtt, MqttWs } from "azure-iot-device-mqtt";

import { LIMIT, pki, ready, within } from "./lab.js";
import { create, feedback, registry, send, waiting } from "./messages.js";

const on443 = ready.https.endsWith(":443");
const skip = on443 ? false : `these clients dial 443 only, HTTPS is served at ${ready.https}`;

for (const [name, transport] of [
  ["mqtt", Mqtt],
  ["websocket", MqttWs],
]) {
  const options = { ...LIMIT, skip: transport === MqttWs && skip };
  test(`a message arrives over ${name} and is settled`, options, async (t) => {
    const id = `node-message-${name}`;
    const client = await open(t, await create(id), transport);
    const received = receive(client);
    await send(id, '{"on": true}', {
      "IoTHub-MessageId": `${id}-m`,
      "IoTHub-CorrelationId": "c/1",
      "IoTHub-UserId": "us er",
      "iothub-contenttype": "application/json",
      "iothub-contentencoding": "utf-8",
      "iothub-ack": "full",
      "iothub-app-colour": "green & blue",
    });
    const [message] = await eventually("the message", () => received.length === 1 && received);
    assert.equal(message.data.toString(), '{"on": true}');
    assert.equal(message.messageId, `${id}-m`);
    assert.equal(message.correlationId, "c/1");
    assert.equal(message.userId, "us er");
    assert.equal(message.to, `/devices/${id}/messages/devicebound`);
    assert.equal(message.contentType, "application/json");
    assert.equal(message.contentEncoding, "utf-8");
    assert.equal(message.properties.getValue("colour"), "green & blue");
    await within("completing", client.complete(message));
    await eventually("the empty queue", async () => (await waiting(id)) === 0);
    await heard(id, [[`${id}-m`, "Success"]]);
    // R-G18: what the device says goes the same way.
    await within("sending telemetry", client.sendEvent(new device.Message("received")));
  });
}

test("a drop loses no subscription and no message", LIMIT, async (t) => {
  // R-G17: this client does not escape its id in filters.
  const id = "node-dropped$1";
  const proxy = await startProxy(t);
  const string = `${await create(id)};GatewayHostName=localhost:${proxy.port}`;
  const client = await open(t, string, Mqtt);
  const received = receive(client);
  const texts = () => received.map((message) => message.data.toString());
  await send(id, "before");
  await eventually("the first message", () => received.length === 1);

  proxy.cut();
  await send(id, "meanwhile");
  await send(id, "and again");
  assert.equal(await waiting(id), 2);
  proxy.mend();
  await eventually("what was sent meanwhile", () => received.length === 3);
  await send(id, "afterwards");
  await eventually("what is sent now", () => received.length === 4);
  assert.deepEqual(texts(), ["before", "meanwhile", "and again", "afterwards"]);
  await eventually("the empty queue", async () => (await waiting(id)) === 0);
});

test("a device lives by HTTPS and a key", { ...LIMIT, skip }, async (t) => {
  const id = "node-https";
  const client = await open(t, await create(id), Http);
  const message = new device.Message('{"t": 1}');
  message.messageId = "id 1";
  message.contentType = "application/json";
  message.properties.add("alert", "yes&no=1");
  await within("sending", client.sendEvent(message));
  await within("sending a batch", client.sendEventBatch([message, new device.Message("b2")]));
  // R-G39: nobody is connected by that.
  const shown = await registry.get(id);
  assert.equal((shown.responseBody ?? shown).connectionState, "Disconnected");

  const received = receive(client);
  const outcomes = [
    ["complete", "Success"],
    ["reject", "Rejected"],
  ];
  for (const [how, fate] of outcomes) {
    received.length = 0;
    const headers = { "iothub-messageid": `${id}-${how}`, "iothub-ack": "full", "iothub-app-k": "v" };
    await send(id, how, headers);
    const [got] = await eventually("the message", () => received.length === 1 && received);
    assert.deepEqual([got.data.toString(), got.messageId], [how, `${id}-${how}`]);
    assert.equal(got.properties.getValue("iothub-app-k"), "v");
    await within(how, client[how](got));
    await heard(id, [[`${id}-${how}`, fate]]);
  }
  received.length = 0;
  await send(id, "twice");
  const [first] = await eventually("the message", () => received.length === 1 && received);
  await within("abandoning", client.abandon(first));
  const [, second] = await eventually("it again", () => received.length === 2 && received);
  assert.notEqual(first.lockToken, second.lockToken);
  await assert.rejects(
    within("completing", client.complete(first)),
    (error) => error.response.statusCode === 412,
  );
  await within("completing", client.complete(second));
  assert.equal(await waiting(id), 0);
});

test("a device lives by HTTPS and a certificate", { ...LIMIT, skip }, async (t) => {
  const id = "node-https-x509";
  const leaf = pki.root(id);
  const stranger = pki.root(id);
  const thumbprint = new X509Certificate(leaf.cert).fingerprint256.replaceAll(":", "");
  const x509Thumbprint = { primaryThumbprint: thumbprint, secondaryThumbprint: thumbprint };
  await registry.create({ deviceId: id, authentication: { type: "selfSigned", x509Thumbprint } });
  const string = `HostName=${ready.hubs[0].host};DeviceId=${id};x509=true`;
  const client = await open(t, string, Http, leaf);
  await within("sending", client.sendEvent(new device.Message("hello")));
  await send(id, "for you");
  const received = receive(client);
  const [got] = await eventually("the message", () => received.length === 1 && received);
  await within("completing", client.complete(got));

  const refused = await open(t, string, Http, stranger);
  await assert.rejects(
    within("sending", refused.sendEvent(new device.Message("hello"))),
    (error) => error.name === "UnauthorizedError",
  );
});

/** A client that is closed when the test ends. */
async function open(t, connectionString, transport, certificate) {
  const client = device.Client.fromConnectionString(connectionString, transport);
  t.after(() => client.close().catch(() => {}));
  client.on("error", () => {});
  // Over HTTPS this client takes them at once and never says so.
  if (certificate) void client.setOptions({ cert: certificate.cert, key: certificate.key });
  await within("connecting", client.open());
  return client;
}

/** Messages as they arrive. */
function receive(client) {
  const received = [];
  client.on("message", (message) => received.push(message));
  return received;
}

/** Waits for feedback about the messages of a device, across batches that others share. */
async function heard(id, expected) {
  const own = [];
  await eventually("the feedback", async () => {
    const records = (await feedback()).filter((record) => record.deviceId === id);
    own.push(...records.map((record) => [record.originalMessageId, record.statusCode]));
    return own.length >= expected.length;
  });
  assert.deepEqual(own, expected);
}

/** Stands between a device and port 8883, until the line is cut. */
async function startProxy(t) {
  const open = new Set();
  let cut = false;
  const server = net.createServer((near) => {
    near.on("error", () => {});
    if (cut) return near.destroy();
    const far = net.connect(8883, "localhost");
    far.on("error", () => {});
    open.add(near).add(far);
    near.pipe(far).pipe(near);
    return near.on("close", () => far.destroy());
  });
  server.listen(0, "localhost");
  await once(server, "listening");
  t.after(() => server.close());
  return {
    port: server.address().port,
    cut() {
      cut = true;
      for (const socket of open) socket.destroy();
      open.clear();
    },
    mend() {
      cut = false;
    },
  };
}

/** Waits until `condition` gives something, and gives that. */
async function eventually(what, condition) {
  for (const deadline = Date.now() + 30_000; ; ) {
    const found = await condition();
    if (found) return found;
    assert.ok(Date.now() < deadline, `${what}: not within 30 s`);
    await delay(50);
  }
}
