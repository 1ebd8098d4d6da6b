// Makes the roles of roles.json, or brings them up to date, and a user of each role's name for it,
// whose password it asks for. It changes no password and removes nothing. Run by someone with
// userAdmin on admin:
//   mongosh "mongodb://HOST1,HOST2,HOST3/admin?replicaSet=ems&tls=true&tlsCAFile=ca.pem" -u NAME roles.js
const fs = require('fs');
const path = require('path');

const admin = db.getSiblingDB('admin');
const commands = JSON.parse(fs.readFileSync(path.join(__dirname, 'roles.json'), 'utf8'));

for (const create of commands) {
  const { createRole: name, ...rest } = create;
  admin.runCommand(admin.getRole(name) ? { updateRole: name, ...rest } : create);
  print(`role ${name}`);
  if (!admin.getUser(name)) {
    print(`password of the new user ${name}`);
    const roles = [{ role: name, db: 'admin' }];
    admin.createUser({ user: name, pwd: passwordPrompt(), roles, mechanisms: ['SCRAM-SHA-256'] });
  }
}
