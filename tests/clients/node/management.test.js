// The management client as published: a root is uploaded, proven and deleted, and the instance
// is read and changed (R-D1 to R-D6, R-F1, R-F9).
import assert from "node:assert/strict";
import { test } from "node:test";

import management from "@azure/arm-deviceprovisioningservices";

import { LIMIT, pki, ready } from "./lab.js";

const GROUP = "any";
const port = ready.https.split(":").at(-1);
const credential = {
  getToken: async () => ({ token: "x", expiresOnTimestamp: Date.now() + 3_600_000 }),
};
const client = new management.IotDpsClient(credential, "00000000-0000-0000-0000-000000000000", {
  endpoint: `https://${ready.dps.host}:${port}`,
});

/** R-D3, R-D6: each step takes the etag that the one before gave. */
test("a root is uploaded, proven and deleted", LIMIT, async () => {
  const name = "node-managed";
  const root = pki.root(name);
  const certificates = client.dpsCertificate;
  const uploaded = await certificates.createOrUpdate(GROUP, ready.dps.name, name, {
    properties: { certificate: Buffer.from(root.cert) },
  });
  assert.equal(uploaded.properties.isVerified, false);
  assert.equal(uploaded.properties.subject, name);

  const challenge = await certificates.generateVerificationCode(
    name, uploaded.etag, GROUP, ready.dps.name,
  );
  const code = challenge.properties.verificationCode;
  const verify = (etag, proof) =>
    certificates.verifyCertificate(name, etag, GROUP, ready.dps.name, { certificate: proof.cert });
  await assert.rejects(verify(uploaded.etag, pki.leaf(code, root)), { statusCode: 412 });
  const stranger = pki.root("node-stranger");
  await assert.rejects(verify(challenge.etag, pki.leaf(code, stranger)), { statusCode: 400 });
  const verified = await verify(challenge.etag, pki.leaf(code, root));
  assert.equal(verified.properties.isVerified, true);

  const read = await certificates.get(name, GROUP, ready.dps.name);
  assert.deepEqual([read.etag, read.properties.isVerified], [verified.etag, true]);
  const listed = await certificates.list(GROUP, ready.dps.name);
  assert.ok(listed.value.some((one) => one.name === name));

  const remove = (etag) => certificates.delete(GROUP, etag, ready.dps.name, name);
  await assert.rejects(remove(uploaded.etag), { statusCode: 412 });
  await remove(verified.etag);
  await assert.rejects(certificates.get(name, GROUP, ready.dps.name), { statusCode: 404 });
});

/** R-B11, R-B12, R-F9. */
test("the instance is read, listed, changed and changed back", LIMIT, async () => {
  const resource = client.iotDpsResource;
  const before = await resource.get(ready.dps.name, GROUP);
  assert.equal(before.properties.idScope, ready.dps.id_scope);
  const names = [];
  for await (const one of resource.listBySubscription()) names.push(one.name);
  assert.deepEqual(names, [ready.dps.name]);
  const keys = [];
  for await (const key of resource.listKeys(ready.dps.name, GROUP)) keys.push(key.keyName);
  assert.ok(keys.includes("provisioningserviceowner"));

  const [hub] = before.properties.iotHubs;
  const write = (weight) => {
    const iotHubs = [{ ...hub, allocationWeight: weight }];
    const properties = { ...before.properties, iotHubs };
    const description = { ...before, etag: undefined, properties };
    return resource.beginCreateOrUpdateAndWait(GROUP, ready.dps.name, description);
  };
  assert.equal((await write(7)).properties.iotHubs[0].allocationWeight, 7);
  const after = await write(hub.allocationWeight);
  assert.deepEqual(after.properties.iotHubs, before.properties.iotHubs);
  assert.notEqual(after.etag, before.etag);
});
