// oidc-provider with its memory storage and client credentials, for benches/http.sh.
import { createServer } from 'node:http';
import Provider from 'oidc-provider';

const server = createServer();
server.listen(0, '127.0.0.1', () => {
    const address = `http://127.0.0.1:${server.address().port}`;
    const provider = new Provider(address, {
        clients: [{
            client_id: 'machine',
            client_secret: 'a secret of forty-three characters of base64',
            grant_types: ['client_credentials'],
            redirect_uris: [],
            response_types: [],
            scope: 'user:read',
        }],
        scopes: ['user:read'],
        features: { clientCredentials: { enabled: true }, devInteractions: { enabled: false } },
    });
    const handle = provider.callback();
    server.on('request', handle);
    console.log(`listening on ${address}`);
});
