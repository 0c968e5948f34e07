/*
 * Another package's loop, as its README has it: one callback and one verdict a packet. It decides
 * as our engine does: node peer.mjs PACKAGE QUEUE TOTAL_NODES LOCAL_NODE SEED [RECEIVE_BUFFER]
 */
import { createRequire } from 'node:module';
import process from 'node:process';
import { Hasher } from '../../dist/index.js';

const [name, queue, totalNodes, localNode, hashSeed, buffer] = process.argv.slice(2);
const peer = createRequire(import.meta.url)(name);
const hasher = new Hasher({ totalNodes: Number(totalNodes), hashSeed: Number(hashSeed) });
const own = Number(localNode);

peer.createQueueHandler(Number(queue), Number(buffer ?? 65535), (packet) => {
  const { payload } = packet;
  const source = payload[0] >> 4 === 4 ? payload.subarray(12, 16) : payload.subarray(8, 24);
  packet.setVerdict(hasher.node(source) === own ? peer.NF_ACCEPT : peer.NF_DROP);
});
console.log('ready');
