//! The entry node lies to its clients: about records that it has, and that it has not.

use std::process::Command;

use consilium_client::records::RecordReader;
use consilium_client::{Client, ClientError, Profile, Unverified};
use consilium_e2e::{Network, User, cli_binary, lying_entry, random_id, run_to_end, stored};
use consilium_proto::ids::RecordId;
use consilium_proto::names::Role;
use consilium_proto::pb;
use consilium_proto::record::Unproven;
use prost::Message;

/// Another record's answer, with the id that was asked for and other words.
const INVENTED: [u8; 16] = [0xee; 16];

fn record_answer(call: &str, answer: &[u8], lie: fn(&mut pb::RecordVersion)) -> Option<Vec<u8>> {
    let mut told = (call == "GetRecord").then(|| pb::GetRecordResponse::decode(answer))?.ok()?;
    lie(told.record.as_mut()?);
    Some(told.encode_to_vec())
}

async fn ask(liar: &User, address: String, id: RecordId) -> Result<Unproven, ClientError> {
    let profile = Profile { endpoints: vec![address], ..liar.profile.clone() };
    let client = Client::connect(profile).await?;
    match RecordReader::new(client).get(id, None).await {
        Err(ClientError::Verification(Unverified::Record { why, .. })) => Ok(why),
        Err(error) => Err(error),
        Ok(opened) => panic!("believed: {opened:?}"),
    }
}

#[test]
fn forged_record() {
    Network::of(4).run(async |network| {
        let user = network.enrolled(0, Role::Service, "ehr").await?;
        let own = stored(&user.client, "patient", b"what was seen").await?;
        let id = own.record_id;
        // Between an honest node and its client nothing is lost.
        let honest = lying_entry(network, 0, &user, |_, _| None).await?;
        let profile = Profile { endpoints: vec![honest], ..user.profile.clone() };
        let opened = RecordReader::new(Client::connect(profile).await?).get(id, None).await?;
        assert_eq!(opened.plaintext.unwrap().as_slice(), b"what was seen");

        let lies: [consilium_e2e::Falsify; 4] = [
            |call, answer| record_answer(call, answer, |record| record.author = "spiffe://x.example/service/y".into()),
            |call, answer| record_answer(call, answer, |record| record.time_ms -= 3_600_000),
            |call, answer| record_answer(call, answer, |record| record.kind = "Condition".into()),
            |call, answer| record_answer(call, answer, |record| record.patient = vec![9; 16].into()),
        ];
        for lie in lies {
            let address = lying_entry(network, 0, &user, lie).await?;
            assert_eq!(ask(&user, address, id).await?, Unproven::Version);
        }
        // The command line prints nothing of it.
        let address = lying_entry(network, 0, &user, lies[0]).await?;
        let liar = User { profile: Profile { endpoints: vec![address], ..user.profile.clone() }, ..user };
        let mut command = Command::new(cli_binary()?);
        command.arg("--config").arg(liar.config_file(network.folder())?).current_dir(network.folder());
        command.args(["record", "get", &id.to_string()]);
        let exit = run_to_end(&mut command, &network.genesis_path)?;
        assert_ne!(exit.code, Some(0));
        assert!(!exit.output.contains("what was seen"), "{}", exit.output);
        assert!(exit.output.contains("the certified state holds other versions of the record"), "{}", exit.output);
        // Whoever looks after the node has what it said.
        assert!(exit.output.contains("answered GetRecord falsely"), "{}", exit.output);
        let files = std::fs::read_dir(network.folder())?.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let file = files.into_iter().find(|name| name.starts_with("false-answer-")).unwrap();
        let kept: serde_json::Value = serde_json::from_slice(&std::fs::read(network.folder().join(file))?)?;
        let answered = hex::decode(kept["result"]["answered"].as_str().unwrap())?;
        let said = pb::GetRecordResponse::decode(answered.as_slice())?.record.unwrap();
        assert_eq!(said.author, "spiffe://x.example/service/y");
        assert_eq!(kept["result"]["node"].as_str().unwrap(), liar.profile.endpoints[0]);
        Ok(())
    });
}

/// A record that nobody wrote, made of an answer about another one.
#[test]
fn invented_record() {
    Network::of(4).run(async |network| {
        let user = network.enrolled(0, Role::Service, "ehr").await?;
        let own = stored(&user.client, "patient", b"what was seen").await?;
        let address = lying_entry(network, 0, &user, |call, answer| {
            record_answer(call, answer, |record| record.record_id = INVENTED.to_vec().into())
        })
        .await?;
        assert_eq!(ask(&user, address.clone(), own.record_id).await?, Unproven::Order);
        // The honest node behind it knows of no such record: not even the liar has an answer.
        let error = ask(&user, address, random_id()).await.unwrap_err();
        assert!(matches!(error, ClientError::Status { code: tonic::Code::NotFound, .. }), "{error:?}");
        Ok(())
    });
}
