// mailauth: letters verified a second by mailauth, with the answers at hand; as bench-dkim prints it.
//
//     node mailauth.js FOLDER VARIANT DIR SECONDS      FOLDER: where mailauth is installed
//
// Processor time of the whole process, its threads included. VARIANT as in dkim.c: all is SPF, DKIM,
// ARC and DMARC, everything else DKIM alone.
"use strict";
const fs = require("fs");
const path = require("path");

const [folder, variant, dir, limit] = process.argv.slice(2);
const { authenticate } = require(path.join(folder, "node_modules/mailauth"));
const { dkimVerify } = require(path.join(folder, "node_modules/mailauth/lib/dkim/verify"));

const DOMAIN = "bench.test";
const NOW = 1700000000; // bench/dkim.c signs at that time
const record = fs.readFileSync(path.join(dir, "record"), "latin1");
const letter = fs.readFileSync(path.join(dir, variant === "all" ? "4KiB" : variant));
const zone = new Map([
    [`s1._domainkey.${DOMAIN}`, record],
    [`_dmarc.${DOMAIN}`, "v=DMARC1; p=reject"],
    [DOMAIN, "v=spf1 ip4:192.0.2.0/24 -all"],
]);

async function resolver(name, type) {
    if (type === "TXT" && zone.has(name)) return [[zone.get(name)]];
    throw Object.assign(new Error("no such name"), { code: "ENOTFOUND" });
}

async function verify() {
    if (variant !== "all") {
        const { results } = await dkimVerify(letter, { resolver, curTime: new Date(NOW * 1000) });
        return results.length === 1 && results[0].status.result === "pass";
    }
    const r = await authenticate(letter, {
        resolver, ip: "192.0.2.1", helo: `mx.${DOMAIN}`, sender: `ann@${DOMAIN}`, mta: "here.test",
        disableBimi: true, curTime: new Date(NOW * 1000),
    });
    return r.dmarc.status.result === "pass" && r.spf.status.result === "pass";
}

async function main() {
    let letters = 0, used;
    // The compiler of node's engine gets its time first.
    for (let i = 0; i < 50; i++)
        if (!(await verify())) throw new Error("the letter does not verify");
    const begin = process.cpuUsage();
    do {
        if (!(await verify())) throw new Error("the letter does not verify");
        letters++;
        const now = process.cpuUsage(begin);
        used = (now.user + now.system) / 1e6;
    } while (used < Number(limit));
    console.log(`letters ${letters} seconds ${used.toFixed(6)}`);
}

main().catch((e) => {
    console.error(`mailauth: ${e.message}`);
    process.exit(1);
});
