/* The addon's build by node-gyp and binding.gyp. */
import { realpathSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import process from 'node:process';

export const root = path.resolve(import.meta.dirname, '..');

/** The path of node-gyp: the one npm names, else the one that lies within npm. */
function findNodeGyp() {
  const named = process.env.npm_config_node_gyp;
  if (named) return named;
  for (const directory of (process.env.PATH ?? '').split(':')) {
    try {
      const npm = realpathSync(path.join(directory, 'npm'));
      return createRequire(npm).resolve('node-gyp/bin/node-gyp.js');
    } catch {
      // No npm here, or one without node-gyp.
    }
  }
  throw new Error('node-gyp was not found; it comes with npm, so run this through npm.');
}

/**
 * The command that builds build/Release/nfq_cluster.node, for spawn. Our own folder stands in for
 * Node's headers, so nothing is downloaded. It is named by environment variables, since node-gyp
 * prefers those of npm's configuration to its own arguments.
 */
export function nodeGypCommand() {
  const {
    npm_package_config_node_gyp_nodedir: _nodedir,
    npm_package_config_node_gyp_force_process_config: _config,
    ...inherited
  } = process.env;
  return {
    file: process.execPath,
    args: [findNodeGyp(), 'configure', 'build', '--jobs=max'],
    options: {
      cwd: root,
      env: {
        ...inherited,
        npm_config_nodedir: 'native/gyp',
        npm_config_force_process_config: 'true',
      },
    },
  };
}
