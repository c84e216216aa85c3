// SPDX-License-Identifier: Apache-2.0
// node client.mjs URL [TEST...]: the suite's client against a server; its last line is the results as JSON, each
// true or [kind, message]. Without keep-alive, which newer versions of Node make the default: node-fetch then sends
// requests into connections that are being closed.
import http from 'node:http'
import fetch from 'node-fetch'
import { getResults, runTests } from 'http-cache-tests/client/runner.mjs'
import suites from 'http-cache-tests/tests/index.mjs'
import surrogates from 'http-cache-tests/tests/surrogate-control.mjs'

const [url, ...chosen] = process.argv.slice(2)
const agent = new http.Agent({ keepAlive: false })
const tests = [...suites, surrogates].flatMap(suite => suite.tests)
const some = tests.filter(test => chosen.length === 0 || chosen.includes(test.id))

await runTests([{ tests: some }], (target, how) => fetch(target, { ...how, agent }), false, url)
console.log(JSON.stringify(getResults()))
