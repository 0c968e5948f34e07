/* Brings the packages of the system and of npm that a development command needs. */
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import path from 'node:path';
import process from 'node:process';
import { root } from './node-gyp.mjs';
import { explain, hasProgram, missing, packagesOf } from './packages.mjs';
import { Failure, say, step } from './steps.mjs';

const APT_LISTS = '/var/lib/apt/lists';

function installByApt(packages) {
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  const apt = (title, ...args) =>
    step(title, 'apt-get', ['-y', '-o', 'DPkg::Lock::Timeout=120', ...args], { env });
  const update = () => apt('fetching the lists of Debian packages', 'update');
  const install = () =>
    apt(
      `installing the Debian packages ${packages}`,
      ...['install', '--no-install-recommends', ...packages.split(' ')],
    );
  const fetched =
    existsSync(APT_LISTS) && readdirSync(APT_LISTS).some((name) => /_Packages/.test(name));
  if (!fetched) update();
  try {
    install();
  } catch (error) {
    if (!fetched) throw error;
    say('that failed; the lists may be out of date');
    update();
    install();
  }
}

/** Whether packages that are missing can be installed here without asking. */
export const canInstall = () => process.getuid() === 0 && hasProgram('apt-get');

function ensurePackages(purposes) {
  const needs = missing(...purposes);
  if (needs.length === 0) return;
  if (!hasProgram('apt-get')) throw new Failure(explain(needs));
  const packages = packagesOf('Debian', needs);
  if (!canInstall()) {
    throw new Failure(
      `missing ${needs.map(({ name }) => name).join(', ')}. ` +
        `Install what is missing and try again:\n    sudo apt-get install ${packages}`,
    );
  }
  installByApt(packages);
  const still = missing(...purposes);
  if (still.length > 0) {
    throw new Failure(
      `${still.map(({ name }) => name).join(', ')} still missing after ${packages} was installed.`,
    );
  }
}

/** Whether node_modules holds the versions in package-lock.json; of optional packages, any. */
function modulesMatch() {
  const lockedIn = (file) => JSON.parse(readFileSync(path.join(root, file), 'utf8')).packages;
  const installed = path.join('node_modules', '.package-lock.json');
  if (!existsSync(path.join(root, installed))) return false;
  const present = lockedIn(installed);
  return Object.entries(lockedIn('package-lock.json')).every(
    ([name, { version, optional }]) =>
      name === '' || optional === true || present[name]?.version === version,
  );
}

/** Makes node_modules what package-lock.json says. Install scripts are not run: we build below. */
function ensureModules() {
  if (modulesMatch()) return;
  step('installing the npm packages', 'npm', ['ci', '--ignore-scripts', '--include=dev'], {
    cwd: root,
  });
}

/** Brings everything that the purposes named need (see packages.mjs), and all npm packages. */
export function setUp(...purposes) {
  ensurePackages(purposes);
  ensureModules();
}
