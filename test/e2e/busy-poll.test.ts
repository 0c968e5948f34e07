/* A thread that stays awake decides what comes while it is awake, and after it has gone to sleep, and stops. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { open } from '../../src/index.js';
import { inject } from '../support/inject.js';
import { udp } from '../support/packets.js';
import { waitFor } from '../support/processes.js';
import { NODE, wire } from '../support/wire.js';

const skip = process.getuid?.() === 0 ? false : 'needs root';
const COUNT = 100;

/** Microseconds between frames, against 5,000 of staying awake. */
for (const [what, apart] of [
  ['awake', 500],
  ['asleep', 20_000],
] as const) {
  test(`packets that find a busily polling thread ${what} are all decided`, { skip }, async () => {
    await using lab = await wire();
    await using engine = await open({
      interfaces: ['eth0'],
      totalNodes: 1,
      localNode: 1,
      hashSeed: 0,
      netns: lab.node.path,
      rules: 'auto',
      busyPoll: 5000,
    });
    const frames = Array.from({ length: COUNT }, () => udp({ src: '10.20.0.1', dst: NODE.ipv4 }));
    const before = process.cpuUsage();
    await inject(lab.sender, 'eth0', frames, { rate: 1e6 / apart });
    await waitFor('all packets', () => engine.stats().owned === COUNT);
    const { system, user } = process.cpuUsage(before);
    const awake = COUNT * Math.min(apart, 5000);
    assert.ok(system + user > awake / 2, `${system + user} µs of processor time`);
  });
}
