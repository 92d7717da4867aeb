// One process of the shop, made to be killed: node actor.ts ROLE URL SEED. It ends with its parent.
import { flushCompileCache } from 'node:module'
import { setTimeout as sleep } from 'node:timers/promises'
import { seeded } from '../support/random.ts'
import { place, serve, shopOn } from './shop.ts'

const [role, url, seed] = process.argv.slice(2) as [string, string, string]
const random = seeded(Number(seed))
process.stdin.resume().on('end', () => process.exit(0))
const shop = shopOn(url)

if (role === 'relay') await shop.posthaste.start({ consumers: false })
if (role === 'consumer') {
  serve(shop, async () => await sleep(random() * 4))
  await shop.posthaste.start({ relay: false })
}
flushCompileCache()
console.log('ready')

if (role === 'producer') {
  for (let n = 0; ; n += 1) {
    const order = Number(seed) * 1_000_000 + n
    await place(shop, order, { rollback: random() < 0.05 }).catch(() => sleep(20))
    await sleep(random() * 5)
  }
}
