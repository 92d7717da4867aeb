import { spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { parseAllDocuments } from 'yaml'
import { VARIABLES } from '../../src/cli/target.ts'
import { cli, spawnCli } from '../support/cli.ts'
import { createDatabase } from '../support/database.ts'
import { freePort } from '../support/free-port.ts'
import { lives, ROOT } from '../support/process.ts'
import { everyCommand } from '../support/program.ts'
import { until } from '../support/until.ts'

const FOLDER = join(ROOT, 'examples/deploy')
const UNIT = readFileSync(join(FOLDER, 'posthaste-relay.service'), 'utf8')
const { version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { version: string }

interface Container {
  readonly name: string
  readonly command: string[]
  readonly env: { readonly name: string }[]
  readonly ports: { readonly name: string; readonly containerPort: number }[]
  readonly readinessProbe: Probe
  readonly livenessProbe: Probe
  readonly volumeMounts: { readonly name: string }[]
}
interface Probe {
  readonly httpGet: { readonly path: string; readonly port: string }
}
interface Pod {
  readonly initContainers: Container[]
  readonly containers: Container[]
  readonly volumes: { readonly name: string }[]
}
interface Deployment {
  readonly spec: {
    readonly selector: { readonly matchLabels: object }
    readonly template: { readonly metadata: { readonly labels: object }; readonly spec: Pod }
  }
}

const documents = parseAllDocuments(readFileSync(join(FOLDER, 'kubernetes.yaml'), 'utf8'))
const [deployment] = documents.map((document) => document.toJS()) as [Deployment]
const pod = deployment.spec.template.spec

const SETTING = /^([A-Za-z]+)=(.*)$/
const unit = new Map(
  UNIT.split('\n').flatMap((line) => (SETTING.exec(line) ? [SETTING.exec(line)!.slice(1)] : [])) as [string, string][],
)

/** The words that follow the program. */
function argumentsOf(command: readonly string[]): string[] {
  return command.slice(command.findIndex((word) => word.endsWith('/posthaste')) + 1)
}

const unitArguments = argumentsOf(unit.get('ExecStart')!.split(' '))
const [install, migration] = pod.initContainers as [Container, Container]
const [relay] = pod.containers as [Container]

test('the files of examples/deploy name commands, flags and variables that exist', async () => {
  expect(documents.flatMap(({ errors }) => errors)).toEqual([])
  const commands = await everyCommand()
  for (const [path, ...flags] of [unitArguments, argumentsOf(migration.command), argumentsOf(relay.command)]) {
    const { command } = commands.find((each) => each.path === path)!
    const known = command.options.map(({ long }) => long)
    expect(known).toEqual(expect.arrayContaining(flags.filter((flag) => flag.startsWith('--'))))
  }
  const variables = readFileSync(join(FOLDER, 'relay.env'), 'utf8').matchAll(/^(?:# )?([A-Z_]+)=/gm)
  const said = [...variables].map(([, name]) => name!).concat(relay.env.map(({ name }) => name))
  expect(['DATABASE_URL', 'NODE_ENV', ...Object.values(VARIABLES)]).toEqual(expect.arrayContaining(said))
})

test('the Kubernetes deployment installs this version, and refers to nothing that it lacks', () => {
  expect(install.command).toContain(`posthaste@${version}`)
  expect(deployment.spec.template.metadata.labels).toEqual(deployment.spec.selector.matchLabels)
  const mounts = [install, migration, relay].flatMap(({ volumeMounts }) => volumeMounts.map(({ name }) => name))
  expect(pod.volumes.map(({ name }) => name)).toEqual(expect.arrayContaining(mounts))
  const { ports, readinessProbe, livenessProbe } = relay
  const [health] = ports
  expect([readinessProbe, livenessProbe].map(({ httpGet }) => httpGet)).toEqual([
    { path: '/ready', port: health!.name },
    { path: '/live', port: health!.name },
  ])
  expect(relay.command).toContain(String(health!.containerPort))
})

test.each([
  ['systemd', unitArguments],
  ['Kubernetes', argumentsOf(relay.command)],
])(
  'the relay of the %s file starts as it is written there, and answers its probes',
  { timeout: 60_000 },
  async (_, args) => {
    await using database = await createDatabase()
    const env = { DATABASE_URL: database.url }
    expect((await cli(argumentsOf(migration.command), { env })).code).toBe(0)
    const port = String(await freePort())
    const child = spawnCli(
      args.map((word) => (word === '9090' ? port : word)),
      { env },
    )
    const ended = once(child, 'close')
    child.stdout!.resume()
    try {
      for (const { httpGet } of [relay.readinessProbe, relay.livenessProbe]) {
        const answers = () =>
          fetch(`http://127.0.0.1:${port}${httpGet.path}`).then(
            ({ ok }) => ok,
            () => false,
          )
        await until(answers, { timeoutMs: 30_000, what: httpGet.path })
      }
      child.kill('SIGTERM')
      expect((await ended)[0]).toBe(0)
    } finally {
      if (lives(child.pid!)) child.kill('SIGKILL')
    }
  },
)

test('systemd finds nothing wrong with the unit', ({ skip }) => {
  const { error, status, stderr } = spawnSync('systemd-analyze', ['verify', join(FOLDER, 'posthaste-relay.service')], {
    encoding: 'utf8',
  })
  if (error) {
    console.log('skipped: systemd-analyze is not there')
    skip('systemd-analyze is not there')
  }
  expect(stderr.split('\n').filter((line) => line.includes('posthaste-relay'))).toEqual([])
  expect(status).toBe(0)
})
