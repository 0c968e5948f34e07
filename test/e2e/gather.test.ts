/* The knob that trades latency for fewer system calls does so. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { open } from '../../src/index.js';
import { inject } from '../support/inject.js';
import { udp } from '../support/packets.js';
import { waitFor } from '../support/processes.js';
import { NODE, wire } from '../support/wire.js';

const skip = process.getuid?.() === 0 ? false : 'needs root';
const COUNT = 400;
/** Frames a second: twenty in the longest time that an engine may gather. */
const RATE = 2000;

test(
  'an engine that gathers answers many packets at once, and none is lost',
  { skip },
  async () => {
    const batches = async (gather: number): Promise<number> => {
      await using lab = await wire();
      await using engine = await open({
        interfaces: ['eth0'],
        totalNodes: 1,
        localNode: 1,
        hashSeed: 0,
        netns: lab.node.path,
        rules: 'auto',
        gather,
      });
      const frames = Array.from({ length: COUNT }, () => udp({ src: '10.20.0.1', dst: NODE.ipv4 }));
      await inject(lab.sender, 'eth0', frames, { rate: RATE });
      await waitFor('all packets', () => engine.stats().owned === COUNT);
      return engine.stats().batches;
    };
    const alone = await batches(0);
    const gathered = await batches(10_000);
    assert.ok(gathered <= COUNT / 5, `${gathered} batches`);
    assert.ok(gathered < alone / 2, `${gathered} batches, and ${alone} without`);
  },
);
